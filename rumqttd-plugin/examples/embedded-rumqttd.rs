//! A stock rumqttd with Firstwake at its door.
//!
//! ```text
//! cargo run --example embedded-rumqttd [127.0.0.1:1883]
//! ```
//!
//! It makes one product, with the published secret, and one device, prints how
//! that device wakes for the first time, and runs until Ctrl-C. What it
//! registered is forgotten then. `docs/plugin.md` says what stock rumqttd leaves
//! open: this is for brokers whose every client is trusted.

use std::collections::HashMap;
use std::net::SocketAddr;
use std::sync::Arc;
use std::thread;
use std::time::{Duration, UNIX_EPOCH};

use anyhow::Context;
use firstwake::registry::Embedded;
use firstwake::{
    ActivationCode, DatastreamId, NewProduct, ProductSecret, Provisioner, SealingKey, Serial,
    Timestamp,
};
use firstwake_rumqttd::{OsEntropy, Plugin};
use rumqttd::{Broker, Config, ConnectionSettings, RouterConfig, ServerSettings};

/// Published: whoever reads this can compute the code of every serial.
const SECRET: &str = "488f40ff3d0b2c6188e272f8d86416b73b3cb4ef";
const SERIAL: &str = "0123456789";

#[tokio::main]
async fn main() -> anyhow::Result<()> {
    let listen = match std::env::args().nth(1) {
        Some(address) => address
            .parse()
            .context("an address such as 127.0.0.1:1883")?,
        None => SocketAddr::from(([127, 0, 0, 1], 1883)),
    };
    let directory = tempfile::tempdir()?;
    let registry = Embedded::open(directory.path())?;
    // A server that is to survive a restart keeps this key in a file of mode
    // 0600, apart from the registry's backups.
    let sealing = SealingKey::generate(&OsEntropy);
    let provisioner = Provisioner::start(Arc::new(registry), sealing, Arc::new(OsEntropy)).await?;
    let provisioner = Arc::new(provisioner);
    let code = register(&provisioner).await?;

    let plugin = Plugin::new(provisioner);
    let mut server = server(listen);
    server.set_auth_handler(plugin.auth_handler());
    let mut broker = Broker::new(Config {
        router: router(),
        v4: Some(HashMap::from([("devices".to_owned(), server)])),
        ..Config::default()
    });
    let (tx, rx) = broker.link(Plugin::LINK)?;
    let responder = plugin.responder(tx, rx)?;
    // `start` returns only when every listener has ended, as it does when the
    // address is taken.
    let (ended, listeners) = tokio::sync::oneshot::channel();
    thread::spawn(move || drop(ended.send(broker.start())));

    explain(listen, &code.expose_hex());
    tokio::select! {
        ended = responder.run() => Err(ended.into()),
        _ = listeners => anyhow::bail!("rumqttd does not listen on {listen}"),
        interrupted = tokio::signal::ctrl_c() => Ok(interrupted?),
    }
}

/// Makes a product and a device, and gives back the device's code.
async fn register(provisioner: &Provisioner) -> anyhow::Result<ActivationCode> {
    let (secret, serial) = (ProductSecret::parse(SECRET)?, Serial::parse(SERIAL)?);
    let code = ActivationCode::compute(&secret, &serial);
    let since = UNIX_EPOCH.elapsed().unwrap_or(Duration::ZERO);
    let now = Timestamp::from_millis(0).plus(since);
    let lamp = NewProduct {
        secret: Some(secret),
        datastreams: vec![DatastreamId::parse("temperature")?.into()],
        ..NewProduct::named("lamp")
    };
    let (product, _) = provisioner.create_product(lamp, now).await?;
    provisioner
        .register(&product.id, vec![serial.into()], now)
        .await?;
    Ok(code)
}

fn server(listen: SocketAddr) -> ServerSettings {
    ServerSettings {
        name: "devices".to_owned(),
        listen,
        tls: None,
        next_connection_delay_ms: 1,
        connections: ConnectionSettings {
            connection_timeout_ms: 10_000,
            max_payload_size: 20_480,
            max_inflight_count: 100,
            auth: None,
            external_auth: None,
            dynamic_filters: true,
        },
    }
}

fn router() -> RouterConfig {
    RouterConfig {
        max_connections: 10_000,
        max_outgoing_packet_count: 200,
        max_segment_size: 1024 * 1024,
        max_segment_count: 4,
        ..RouterConfig::default()
    }
}

#[expect(clippy::print_stdout, reason = "an example talks to whoever runs it")]
fn explain(listen: SocketAddr, code: &str) {
    let (host, port) = (listen.ip(), listen.port());
    println!("listening on {listen}; Ctrl-C ends it");
    println!("first wake of {SERIAL}, with its code:");
    println!("  mosquitto_rr -V mqttv311 -h {host} -p {port} -i wake -u {SERIAL} -P {code} \\");
    println!("    -t provision/{SERIAL}/request -e provision/{SERIAL}/response -n");
    println!("then as itself, with the apikey and feed_id of the answer, which spends the code:");
    println!("  mosquitto_pub -h {host} -p {port} -i lamp -u {SERIAL} -P APIKEY \\");
    println!("    -t feeds/FEED_ID/data/temperature -m 21.5");
}
