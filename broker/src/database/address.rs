//! The addresses that are dialled for a database.
//!
//! Whether a connection needs TLS is decided by where it goes, not by how the
//! place is called: `hostaddr` says where to go whatever `host` says, and a name
//! may lead anywhere.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use tokio_postgres::Config;
use tokio_postgres::config::Host;

/// Whether every connection stays on this machine. The one name that may is
/// `localhost`, which is [dialled](literally) as what it has to mean.
pub(super) fn is_here(config: &Config) -> bool {
    match config.get_hostaddrs() {
        [] => {
            let hosts = config.get_hosts();
            !hosts.is_empty() && hosts.iter().all(|host| !dialled(host).is_empty())
        }
        addresses => addresses.iter().all(IpAddr::is_loopback),
    }
}

/// The same database with every name in it replaced by addresses of this
/// machine: no resolver is asked for the way. Only for one that [is
/// here](is_here).
pub(super) fn literally(config: &Config) -> Config {
    if !config.get_hostaddrs().is_empty() {
        return config.clone();
    }
    let mut literal = without_hosts(config);
    let ports = config.get_ports();
    for (at, host) in config.get_hosts().iter().enumerate() {
        for host in dialled(host) {
            match &host {
                Host::Tcp(address) => literal.host(address),
                Host::Unix(directory) => literal.host_path(directory),
            };
            if let Some(port) = ports.get(at).or(ports.first()) {
                literal.port(*port);
            }
        }
    }
    literal
}

/// Places of this machine; none if it is elsewhere.
fn dialled(host: &Host) -> Vec<Host> {
    let Host::Tcp(name) = host else {
        return vec![host.clone()];
    };
    let here = [Ipv4Addr::LOCALHOST.into(), Ipv6Addr::LOCALHOST.into()];
    let addresses = match name.parse::<IpAddr>() {
        Ok(address) if address.is_loopback() => vec![address],
        // RFC 6761 6.3.
        Err(_) if name == "localhost" => here.to_vec(),
        _ => Vec::new(),
    };
    let literal = |address: IpAddr| Host::Tcp(address.to_string());
    addresses.into_iter().map(literal).collect()
}

/// Everything else that it says.
fn without_hosts(config: &Config) -> Config {
    let mut copy = Config::new();
    copy.ssl_mode(config.get_ssl_mode())
        .ssl_negotiation(config.get_ssl_negotiation())
        .keepalives(config.get_keepalives())
        .keepalives_idle(config.get_keepalives_idle())
        .target_session_attrs(config.get_target_session_attrs())
        .channel_binding(config.get_channel_binding())
        .load_balance_hosts(config.get_load_balance_hosts());
    config.get_user().map(|it| copy.user(it));
    config.get_dbname().map(|it| copy.dbname(it));
    config.get_options().map(|it| copy.options(it));
    config
        .get_application_name()
        .map(|it| copy.application_name(it));
    config.get_password().map(|it| copy.password(it));
    config
        .get_connect_timeout()
        .map(|it| copy.connect_timeout(*it));
    config
        .get_tcp_user_timeout()
        .map(|it| copy.tcp_user_timeout(*it));
    config
        .get_keepalives_interval()
        .map(|it| copy.keepalives_interval(it));
    config
        .get_keepalives_retries()
        .map(|it| copy.keepalives_retries(it));
    copy
}

#[cfg(test)]
mod tests {
    use super::*;

    fn config(text: &str) -> Config {
        text.parse().expect(text)
    }

    #[test]
    fn where_it_goes_is_what_counts() {
        for here in [
            "host=/run/postgresql user=f",
            "postgres://f@127.0.0.1,localhost/f",
            "postgres://f@[::1]/f",
            "host=db.example hostaddr=127.0.0.1 user=f",
            "host=localhost,/run/postgresql user=f",
        ] {
            assert!(is_here(&config(here)), "{here}");
        }
        for elsewhere in [
            "postgres://f@127.0.0.1,10.0.0.7/f",
            "postgres://f@localhost.example/f",
            "postgres://f@db.example/f",
            // Names that a resolver may send anywhere.
            "host=LOCALHOST user=f",
            "host=localhost. user=f",
            "host=ip6-localhost user=f",
            "host=127.1 user=f",
            "host=0.0.0.0 user=f",
            "host=::ffff:127.0.0.1 user=f",
            // The address is dialled, whatever the name is.
            "host=localhost hostaddr=10.0.0.7 user=f",
            "postgres://f@localhost/f?hostaddr=10.0.0.7",
            "host=127.0.0.1 hostaddr=10.0.0.7 user=f",
            "host=/run/postgresql hostaddr=10.0.0.7 user=f",
            "host=localhost,localhost hostaddr=127.0.0.1,10.0.0.7 user=f",
            "user=f",
        ] {
            assert!(!is_here(&config(elsewhere)), "{elsewhere}");
        }
    }

    #[test]
    fn no_name_is_left_to_a_resolver() {
        let literal = literally(&config(
            "host=localhost,/run/pg,::1 port=5432,5433,5434 user=f dbname=d",
        ));
        let tcp = |address: &str| Host::Tcp(address.to_owned());
        let hosts = [
            tcp("127.0.0.1"),
            tcp("::1"),
            Host::Unix("/run/pg".into()),
            tcp("::1"),
        ];
        assert_eq!(literal.get_hosts(), hosts);
        assert_eq!(literal.get_ports(), [5432, 5432, 5433, 5434]);
        let given = config("host=localhost hostaddr=127.0.0.2 user=f");
        assert_eq!(literally(&given), given);
    }

    #[test]
    fn nothing_else_is_lost() {
        let whole = config(
            "user=f password=p dbname=d options=-cx=y application_name=a sslmode=disable \
             connect_timeout=3 tcp_user_timeout=4 keepalives=0 keepalives_idle=5 \
             keepalives_interval=6 keepalives_retries=7 target_session_attrs=read-write \
             channel_binding=disable load_balance_hosts=random host=127.0.0.1 port=9",
        );
        assert_eq!(literally(&whole), whole);
        let bare = config("host=127.0.0.1 user=f");
        assert_eq!(literally(&bare), bare);
    }
}
