//! What an operator or a service may publish and subscribe.
//!
//! Grants are topic filters: those of the role, and the operator's own. Above
//! any grant stand the reserved topics: only the server publishes under
//! `provision/` and `provisioning/`, only a device publishes its uplink, and
//! nobody but the device itself subscribes to `provision/…`.

use std::sync::LazyLock;

use crate::operator::{Operator, Role};
use crate::topic::{Limits, TopicFilter, TopicName};

/// What one operator may do, as filters.
#[derive(Clone, Debug)]
pub struct Rights {
    publish: Vec<TopicFilter>,
    subscribe: Vec<TopicFilter>,
}

impl Rights {
    /// Adds the operator's own filters to those of its role.
    pub fn of(operator: &Operator) -> Self {
        let (publish, subscribe): (&[&str], &[&str]) = match operator.role {
            // No topic at all, whatever filters it was given.
            Role::Verifier => {
                return Self {
                    publish: Vec::new(),
                    subscribe: Vec::new(),
                };
            }
            Role::Viewer => (&[], &["provisioning/#", "feeds/#"]),
            Role::Operator => (
                &["feeds/+/commands/+", "feeds/+/config"],
                &["provisioning/#", "feeds/#"],
            ),
            Role::Admin => (&["#"], &["#"]),
        };
        let with_own = |of_role: &[&str], own: &[TopicFilter]| {
            of_role
                .iter()
                .map(|text| known(text))
                .chain(own.iter().cloned())
                .collect()
        };
        Self {
            publish: with_own(publish, &operator.publish),
            subscribe: with_own(subscribe, &operator.subscribe),
        }
    }

    /// Whether a message to `topic` is this operator's to send.
    pub fn may_publish(&self, topic: &TopicName) -> bool {
        let reserved =
            topic.as_str().starts_with('$') || RESERVED.iter().any(|filter| filter.matches(topic));
        !reserved && self.publish.iter().any(|filter| filter.matches(topic))
    }

    /// Whether all that `filter` could match is this operator's to read.
    ///
    /// `#` is fine: provisioning answers never pass where it could match them.
    pub fn may_subscribe(&self, filter: &TopicFilter) -> bool {
        let names_answers = filter.as_str().split('/').next() == Some("provision");
        let hidden = filter.as_str().starts_with('$');
        !names_answers && !hidden && self.subscribe.iter().any(|grant| grant.covers(filter))
    }
}

/// Topics that only the server or the device itself publishes.
static RESERVED: LazyLock<Vec<TopicFilter>> = LazyLock::new(|| {
    [
        "provision/#",
        "provisioning/#",
        "feeds/+/data/#",
        "feeds/+/status",
        "/v2/#",
    ]
    .map(known)
    .into()
});

#[expect(clippy::expect_used, reason = "called with this file's literals only")]
fn known(text: &str) -> TopicFilter {
    TopicFilter::parse(text, Limits::SERVICE).expect("a valid literal")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::operator::OperatorName;

    fn rights(role: Role, publish: &[&str], subscribe: &[&str]) -> Rights {
        let filters = |texts: &[&str]| texts.iter().map(|text| known(text)).collect();
        Rights::of(&Operator {
            publish: filters(publish),
            subscribe: filters(subscribe),
            ..Operator::for_tests(OperatorName::parse("ops").expect("valid"), role)
        })
    }

    fn may_publish(rights: &Rights, topic: &str) -> bool {
        rights.may_publish(&TopicName::parse(topic, Limits::SERVICE).expect("valid"))
    }

    fn may_subscribe(rights: &Rights, filter: &str) -> bool {
        rights.may_subscribe(&known(filter))
    }

    #[test]
    fn roles() {
        let viewer = rights(Role::Viewer, &[], &[]);
        assert!(may_subscribe(&viewer, "provisioning/events/#"));
        assert!(may_subscribe(&viewer, "feeds/+/data/#"));
        assert!(!may_subscribe(&viewer, "#"));
        assert!(!may_publish(&viewer, "feeds/1/commands/reboot"));

        let verifier = rights(Role::Verifier, &["app/#"], &["app/#"]);
        assert!(!may_publish(&verifier, "app/x"));
        assert!(!may_subscribe(&verifier, "app/x"));
        assert!(!may_subscribe(&verifier, "provisioning/#"));

        let operator = rights(Role::Operator, &[], &[]);
        assert!(may_publish(&operator, "feeds/1/commands/reboot"));
        assert!(may_publish(&operator, "feeds/1/config"));
        assert!(!may_publish(&operator, "app/x"));

        let admin = rights(Role::Admin, &[], &[]);
        assert!(may_subscribe(&admin, "#"));
        assert!(may_publish(&admin, "é/x"));
    }

    #[test]
    fn own_filters_add_to_the_role() {
        let service = rights(Role::Viewer, &["app/out/#"], &["app/#"]);
        assert!(may_publish(&service, "app/out/1"));
        assert!(!may_publish(&service, "app/in/1"));
        assert!(may_subscribe(&service, "app/in/+"));
        assert!(may_subscribe(&service, "provisioning/fleet"));
    }

    #[test]
    fn nothing_grants_what_is_reserved() {
        let all = rights(
            Role::Admin,
            &["#", "provision/#", "/v2/#"],
            &["#", "provision/#"],
        );
        for topic in [
            "provision/S/response",
            "provisioning/fleet",
            "feeds/1/data",
            "feeds/1/data/t",
            "feeds/1/status",
            "/v2/feeds/1.json",
            "$SYS/x",
        ] {
            assert!(!may_publish(&all, topic), "{topic}");
        }
        for filter in ["provision/#", "provision/+/response", "provision", "$SYS/#"] {
            assert!(!may_subscribe(&all, filter), "{filter}");
        }
    }
}
