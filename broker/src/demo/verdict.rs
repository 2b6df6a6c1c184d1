//! Whether the operator saw exactly what happened to the devices.

use std::collections::BTreeMap;

use device_sim::Report;

use super::watcher::Seen;

/// What happens to a device that wakes for the first time, in order.
const LIFE: [&str; 3] = [
    "device_registered",
    "activation_issued",
    "activation_confirmed",
];

/// What does not fit.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub(super) enum Fault {
    #[error("event {after} was followed by event {found}")]
    Gap { after: u64, found: u64 },
    #[error("the operator saw {found} for {serial}, which is no device of this demo")]
    Stranger { serial: String, found: String },
    #[error("the operator saw {found:?} for {serial}")]
    Life { serial: String, found: Vec<String> },
    #[error("{serial} was told feed {told}, the operator read feed {read}")]
    Feed {
        serial: String,
        told: u64,
        read: u64,
    },
}

/// How many events there have to be: the product's, and each device's.
pub(super) fn expected_events(report: &Report) -> usize {
    1 + report.devices.len() * LIFE.len()
}

/// Holds the events against the devices.
pub(super) fn judge(seen: &[Seen], report: &Report) -> Result<(), Fault> {
    let told = report.devices.iter().map(|device| {
        let feed = device.credentials.as_ref().map(|known| known.feed_id);
        (device.serial.to_string(), feed)
    });
    check(seen, &told.collect())
}

fn check(seen: &[Seen], told: &BTreeMap<String, Option<u64>>) -> Result<(), Fault> {
    for pair in seen.windows(2) {
        let (after, found) = (pair[0].seq, pair[1].seq);
        if found != after + 1 {
            return Err(Fault::Gap { after, found });
        }
    }
    let mut lives: BTreeMap<&str, Vec<&Seen>> = BTreeMap::new();
    for event in seen {
        if let Some(serial) = &event.serial {
            lives.entry(serial).or_default().push(event);
        }
    }
    for (serial, events) in &lives {
        let Some(feed) = told.get(*serial) else {
            return Err(Fault::Stranger {
                serial: (*serial).to_owned(),
                found: events[0].event.clone(),
            });
        };
        for event in events {
            if let (Some(told), Some(read)) = (*feed, event.feed_id)
                && told != read
            {
                let serial = (*serial).to_owned();
                return Err(Fault::Feed { serial, told, read });
            }
        }
    }
    for serial in told.keys() {
        let events = lives.get(serial.as_str()).map_or(&[][..], Vec::as_slice);
        if !events.iter().map(|event| event.event.as_str()).eq(LIFE) {
            return Err(Fault::Life {
                serial: serial.clone(),
                found: events.iter().map(|event| event.event.clone()).collect(),
            });
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn event(seq: u64, event: &str, serial: Option<&str>) -> Seen {
        Seen {
            seq,
            event: event.to_owned(),
            serial: serial.map(str::to_owned),
            feed_id: serial.map(|_| 7),
        }
    }

    fn life() -> Vec<Seen> {
        let mut seen = vec![event(1, "product_created", None)];
        seen.extend(
            (2..)
                .zip(LIFE)
                .map(|(seq, name)| event(seq, name, Some("S1"))),
        );
        seen
    }

    fn told() -> BTreeMap<String, Option<u64>> {
        BTreeMap::from([("S1".to_owned(), Some(7))])
    }

    #[test]
    fn a_whole_life_passes() {
        assert_eq!(check(&life(), &told()), Ok(()));
    }

    #[test]
    fn whatever_is_wrong_is_found() {
        let mut gap = life();
        gap.remove(0);
        gap.remove(1);
        assert_eq!(check(&gap, &told()), Err(Fault::Gap { after: 2, found: 4 }));

        let short = &life()[..3];
        assert!(matches!(check(short, &told()), Err(Fault::Life { .. })));

        let mut twice = life();
        twice.push(event(5, "activation_issued", Some("S1")));
        assert!(matches!(check(&twice, &told()), Err(Fault::Life { .. })));

        let mut stranger = life();
        stranger.push(event(5, "activation_issued", Some("S2")));
        assert!(matches!(
            check(&stranger, &told()),
            Err(Fault::Stranger { .. })
        ));

        let other = BTreeMap::from([("S1".to_owned(), Some(8))]);
        assert!(matches!(check(&life(), &other), Err(Fault::Feed { .. })));
    }
}
