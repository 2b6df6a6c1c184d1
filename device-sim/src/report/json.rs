//! The report for programs: field names and units are a contract.

use super::Report;

impl Report {
    /// Indented JSON, with a newline at its end.
    pub fn to_json(&self) -> serde_json::Result<String> {
        super::to_json(self)
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::super::tests::example;

    #[test]
    fn the_shape_is_a_contract() {
        let text = example().to_json().expect("plain data");
        let value: serde_json::Value = serde_json::from_str(&text).expect("JSON");
        let one = json!({"count": 1, "p50": 100, "p95": 100, "p99": 100, "max": 100});
        assert_eq!(
            value,
            json!({
                "kind": "storm",
                "plan": {
                    "broker": "127.0.0.1:1883",
                    "tls": null,
                    "devices": 2,
                    "in_flight": 2,
                    "ask": "subscribe",
                    "loop": "closed",
                    "confirm": true,
                    "hold": {"for_us": 5_000_000},
                    "step_deadline_us": 30_000_000,
                },
                "result": {
                    "elapsed_us": 500_000,
                    "activated": 1,
                    "confirmed": 1,
                    "activations_per_second": 2.0,
                    "outcomes": {"confirmed": 1, "refused_connack_4": 1},
                    "repeated_feed_ids": 0,
                    "repeated_keys": 0,
                    "phases_us": {"connect": {"count": 2, "p50": 100, "p95": 100, "p99": 100, "max": 100},
                                  "connack": one, "answer": one, "activation": one, "confirm": one},
                    "held": {"sessions": 1, "lost": 0},
                    "source_addresses": 1,
                },
            })
        );
    }

    #[test]
    fn no_key_is_in_it() {
        let report = example();
        let key = report.devices[0].credentials.as_ref().expect("activated");
        let shown = format!(
            "{report:?} {report} {}",
            report.to_json().expect("plain data")
        );
        assert!(!shown.contains(key.key.expose()));
    }
}
