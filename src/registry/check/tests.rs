//! A store that fits together, and what becomes of it when a row does not.

use std::sync::Mutex;

use proptest::prelude::*;

use super::super::rows::{COUNTERS_KEY, Counters};
use super::super::staging::{Ground, Rows, Staging};
use super::super::{Batch, ProductCensus, Registrant, Write, conformance};
use super::*;
use crate::hardware::Facts;
use crate::identity::Serial;
use crate::product::Product;
use crate::secret::KeyDigest;

/// Rows by their tables and keys.
type Kept = BTreeMap<(Table, Vec<u8>), Vec<u8>>;

/// Rows in memory, as any store would keep them.
#[derive(Default)]
struct Rack(Mutex<Kept>);

impl Rack {
    /// The specimen's rows.
    async fn filled() -> Self {
        let home = tempfile::tempdir().expect("a directory");
        let registry = crate::registry::Embedded::open(home.path()).expect("opens");
        conformance::specimen::fill(&registry).await;
        let rack = Self::default();
        for table in Table::ALL {
            let rows = registry.shelves().page(table, None, 10_000).await;
            for (key, row) in rows.expect("readable") {
                rack.0.lock().expect("no panic").insert((table, key), row);
            }
        }
        rack
    }

    fn copy(&self) -> Kept {
        self.0.lock().expect("no panic").clone()
    }

    fn set<T: Row>(&self, table: Table, key: &[u8], value: &T) {
        self.set_row(table, key, rows::encode(value));
    }

    fn set_row(&self, table: Table, key: &[u8], row: Vec<u8>) {
        let mut rows = self.0.lock().expect("no panic");
        rows.insert((table, key.to_vec()), row);
    }

    fn take(&self, table: Table, key: &[u8]) {
        let removed = self
            .0
            .lock()
            .expect("no panic")
            .remove(&(table, key.to_vec()));
        assert!(removed.is_some(), "it was there");
    }

    fn decoded<T: Row>(&self, table: Table, key: &[u8]) -> T {
        let rows = self.copy();
        rows::decode(&rows[&(table, key.to_vec())]).expect("readable")
    }

    async fn check(&self, repair: Repair) -> (Verdict, Vec<String>) {
        let sealing = conformance::specimen::sealing();
        let terms = Terms {
            sealing: Some(&sealing),
            now: Timestamp::from_millis(1_700_000_000_000),
            repair,
        };
        let mut told = Vec::new();
        let mut tell = |progress| {
            if let Progress::Found(finding) = progress {
                told.push(finding.to_string());
            }
        };
        let verdict = check(self, terms, &mut tell).await.expect("readable");
        (verdict, told)
    }
}

#[async_trait]
impl Shelves for Rack {
    async fn page(
        &self,
        table: Table,
        after: Option<&[u8]>,
        limit: usize,
    ) -> Result<Vec<(Vec<u8>, Vec<u8>)>, RegistryError> {
        let rows = self.copy().into_iter();
        // Small pages, so that there are several.
        let behind = rows
            .filter(|((of, key), _)| *of == table && after.is_none_or(|it| key.as_slice() > it));
        let page = behind.take(if limit == PAGE { 3 } else { limit });
        Ok(page.map(|((_, key), row)| (key, row)).collect())
    }

    async fn rows(
        &self,
        table: Table,
        keys: &[Vec<u8>],
    ) -> Result<Vec<Option<Vec<u8>>>, RegistryError> {
        let rows = self.copy();
        let row = |key: &Vec<u8>| rows.get(&(table, key.clone())).cloned();
        Ok(keys.iter().map(row).collect())
    }

    async fn put(&self, changed: Changed) -> Result<(), RegistryError> {
        let mut rows = self.0.lock().expect("no panic");
        for (key, row) in changed {
            match row {
                Some(row) => rows.insert(key, row),
                None => rows.remove(&key),
            };
        }
        Ok(())
    }
}

fn feed(number: u32) -> FeedId {
    FeedId::new(number).expect("valid")
}

fn serial(text: &str) -> Serial {
    Serial::parse(text).expect("valid")
}

#[tokio::test]
async fn what_a_registry_writes_fits_together() {
    let rack = Rack::filled().await;
    let before = rack.copy();
    let (verdict, told) = rack.check(Repair::Mend).await;
    assert_eq!(told, Vec::<String>::new());
    assert!(verdict.is_sound());
    assert_eq!(verdict.devices, 8);
    let newest = rack.decoded::<Counters>(Table::Meta, COUNTERS_KEY);
    assert_eq!(verdict.newest_event, newest.newest_event);
    assert_eq!(verdict.rows, before.len() as u64);
    assert_eq!(rack.copy(), before, "nothing was written");
}

/// Breaks one thing: what is told of it, and whether it is mended.
async fn broken(damage: impl Fn(&Rack), told: &[&str], mended: bool) {
    let rack = Rack::filled().await;
    let sound = rack.copy();
    damage(&rack);
    let broken = rack.copy();
    assert_ne!(broken, sound);
    let (verdict, report) = rack.check(Repair::Report).await;
    assert_eq!(report.len(), told.len(), "{report:#?}");
    for (line, expected) in report.iter().zip(told) {
        assert!(line.contains(expected), "{line:?} is not {expected:?}");
    }
    assert!(!verdict.is_sound());
    assert_eq!(rack.copy(), broken, "a report writes nothing");

    let (verdict, _) = rack.check(Repair::Mend).await;
    assert_eq!(verdict.is_sound(), mended, "{verdict:?}");
    let after = rack.copy();
    if mended {
        assert_eq!(after, sound, "it is as it was");
    }
    for table in [Table::Devices, Table::Events, Table::Mail] {
        let of = |rows: &Kept| -> Vec<_> {
            let rows = rows.clone().into_iter();
            rows.filter(|((of, _), _)| *of == table).collect()
        };
        assert_eq!(of(&after), of(&broken), "never touched");
    }
}

#[tokio::test]
async fn index_rows_are_mended() {
    let product = || conformance::product(0);
    let member = || rows::member_key(&product(), "c");
    broken(
        |rack| rack.take(Table::Index, &member()),
        &["device aaaaaaaaaaaaaaaaaaaa/c: missing, for feed 5 (mendable)"],
        true,
    )
    .await;
    broken(
        |rack| rack.set(Table::Index, &member(), &feed(6)),
        &[
            "it names feed 6 in place of 5",
            "the device of feed 6 is not found by it",
        ],
        true,
    )
    .await;
    // Both products have one.
    let shared = rows::serial_key(&serial("a"));
    broken(
        |rack| rack.set(Table::Index, &shared, &vec![feed(2)]),
        &["serial a: it does not name feed 7"],
        true,
    )
    .await;
    broken(
        |rack| {
            rack.set(
                Table::Index,
                &shared,
                &vec![feed(2), feed(99), feed(7), feed(2)],
            )
        },
        &["there is no device of feed 99", "it names feed 2 twice"],
        true,
    )
    .await;
    broken(
        |rack| rack.set_row(Table::Index, &rows::serial_key(&serial("d")), vec![9, 9]),
        &[
            "serial d: it cannot be read, for feed 6",
            "it cannot be read",
        ],
        true,
    )
    .await;
    broken(
        |rack| {
            rack.set(
                Table::Index,
                &rows::serial_key(&serial("ghost")),
                &vec![feed(1)],
            )
        },
        &["serial ghost: the device of feed 1 is not found by it"],
        true,
    )
    .await;
}

#[tokio::test]
async fn keys_and_codes_are_mended() {
    let rack = Rack::filled().await;
    let of_first = rack.decoded::<Device>(Table::Devices, &rows::device_key(feed(1)));
    let digests: Vec<KeyDigest> = of_first.key_digests().collect();
    assert!(digests.len() > 1);
    for digest in digests {
        let key = rows::api_key_key(&digest);
        broken(
            |rack| rack.take(Table::Index, &key),
            &["missing, for feed 1"],
            true,
        )
        .await;
        let stranger = vec![feed(2)];
        broken(
            |rack| rack.set(Table::Index, &key, &stranger),
            &[
                "it does not name feed 1",
                "the device of feed 2 is not found by it",
            ],
            true,
        )
        .await;
    }
    let mut nobody = vec![b'c'];
    nobody.extend([7; 32]);
    broken(
        |rack| rack.set(Table::Index, &nobody, &vec![feed(3)]),
        &["code 0707070707070707…: no secret explains it for feed 3"],
        true,
    )
    .await;
    let codes = rack.copy().into_keys();
    let codes = codes.filter(|(table, key)| *table == Table::Index && key[0] == b'c');
    for (_, code) in codes {
        let rack = Rack::filled().await;
        let sound = rack.copy();
        rack.take(Table::Index, &code);
        let (verdict, told) = rack.check(Repair::Mend).await;
        assert!(verdict.mended > 0, "{told:?}");
        assert_eq!(rack.copy(), sound);
    }
}

#[tokio::test]
async fn a_missing_device_is_lasting() {
    let rack = Rack::filled().await;
    rack.take(Table::Devices, &rows::device_key(feed(1)));
    let broken = rack.copy();
    for repair in [Repair::Report, Repair::Mend] {
        let (verdict, told) = rack.check(repair).await;
        assert!(verdict.lasting > 2, "{told:#?}");
        assert_eq!((verdict.mendable, verdict.mended), (0, 0), "{told:#?}");
        let missing = told.iter().any(|line| {
            line.contains("device ") && line.contains("the device of feed 1 is missing (lasting)")
        });
        assert!(missing, "{told:#?}");
        assert_eq!(rack.copy(), broken, "what is left of it stays");
    }
}

#[tokio::test]
async fn counts_are_mended() {
    broken(
        |rack| {
            let mut counters: Counters = rack.decoded(Table::Meta, COUNTERS_KEY);
            counters.newest_feed = 3;
            counters.newest_event = 4;
            counters.census = Census::default();
            rack.set(Table::Meta, COUNTERS_KEY, &counters);
        },
        &[
            "the newest feed is 3",
            "the newest event is 4",
            "it counts 0 devices, and there are 8",
        ],
        true,
    )
    .await;
    let census = rows::product_census_key(&conformance::product(1));
    broken(
        |rack| rack.set(Table::Meta, &census, &ProductCensus::default()),
        &["counts of product bbbbbbbbbbbbbbbbbbbb: it counts 0 devices, and there are 2"],
        true,
    )
    .await;
    broken(
        |rack| rack.take(Table::Meta, &census),
        &["missing, for 2 devices"],
        true,
    )
    .await;
    let gone = rows::product_census_key(&conformance::product(9));
    broken(
        |rack| rack.set(Table::Meta, &gone, &ProductCensus::default()),
        &["its product is gone"],
        true,
    )
    .await;
}

#[tokio::test]
async fn what_is_said_nowhere_twice_is_told_and_left() {
    let third = rows::device_key(feed(3));
    broken(
        |rack| rack.set_row(Table::Devices, &third, vec![4, 1]),
        &[
            "feed 3: the registry is damaged",
            "it counts 8 devices, and there are 7",
            "it counts 6",
        ],
        false,
    )
    .await;
    broken(
        |rack| rack.take(Table::Events, &rows::event_key(5)),
        &["event 6: event 5 is missing before it (lasting)"],
        false,
    )
    .await;
    broken(
        |rack| {
            let mut counters: Counters = rack.decoded(Table::Meta, COUNTERS_KEY);
            counters.newest_event += 2;
            rack.set(Table::Meta, COUNTERS_KEY, &counters);
        },
        &["are missing (lasting)"],
        false,
    )
    .await;
    broken(
        |rack| rack.take(Table::Mail, &rows::mail_key(feed(1), 2)),
        &["session of feed 1: message 2, which waits in it, is missing"],
        false,
    )
    .await;
    let product = rows::product_key(&conformance::product(1));
    broken(
        |rack| {
            let mut record: Product = rack.decoded(Table::Meta, &product);
            record.secrets[0].generation = 9;
            rack.set(Table::Meta, &product, &record);
        },
        &["its secret of generation 9 does not open with this sealing key"],
        false,
    )
    .await;
    broken(
        |rack| rack.take(Table::Meta, &product),
        &["its product bbbbbbbbbbbbbbbbbbbb is missing"],
        false,
    )
    .await;
    broken(
        |rack| rack.set_row(Table::Meta, b"?", vec![1]),
        &["key 3f: it is of no known kind"],
        false,
    )
    .await;
}

#[tokio::test]
async fn what_a_device_left_behind_does_no_harm() {
    let rack = Rack::filled().await;
    let gone = feed(99);
    rack.set(
        Table::Index,
        &rows::datastreams_key(gone),
        &Vec::<FeedId>::new(),
    );
    let value = rows::value_key(gone, &crate::DatastreamId::parse("x").expect("valid"));
    rack.set_row(Table::Mail, &value, vec![1]);
    let (verdict, told) = rack.check(Repair::Mend).await;
    assert!(verdict.is_sound());
    assert_eq!(verdict.left_over, 2, "{told:?}");
}

impl Ground for Rack {
    fn row(&self, table: Table, key: &[u8]) -> Result<Option<impl AsRef<[u8]>>, RegistryError> {
        Ok(self.copy().get(&(table, key.to_vec())).cloned())
    }

    fn under(&self, table: Table, prefix: &[u8]) -> Result<Rows, RegistryError> {
        let rows = self.copy().into_iter();
        let under = rows.filter(|((of, key), _)| *of == table && key.starts_with(prefix));
        Ok(under.map(|((_, key), row)| (key, row)).collect())
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    /// Whatever happens to index rows and counts, they come back as they were.
    #[test]
    fn any_damage_to_what_can_be_computed_is_mended(
        hits in proptest::collection::vec((any::<prop::sample::Index>(), 0u8..4, any::<prop::sample::Index>()), 1..20),
    ) {
        let runtime = tokio::runtime::Builder::new_current_thread().build().expect("a runtime");
        runtime.block_on(async {
            let rack = Rack::filled().await;
            let sound = rack.copy();
            let computed = |(table, key): &(Table, Vec<u8>)| matches!(
                Name::read(*table, key),
                Name::Serial(_) | Name::Member(..) | Name::Code(_) | Name::ApiKey(_) | Name::ProductCensus(_)
            );
            let keys: Vec<_> = sound.keys().filter(|key| computed(key)).cloned().collect();
            for (which, how, other) in hits {
                let (table, key) = which.get(&keys);
                let row = match how {
                    0 => None,
                    1 => Some(vec![0]),
                    2 => Some(sound[other.get(&keys)].clone()),
                    _ => Some(rows::encode(&vec![feed(1), feed(77)])),
                };
                match row {
                    Some(row) => rack.set_row(*table, key, row),
                    None => drop(rack.0.lock().expect("no panic").remove(&(*table, key.clone()))),
                }
            }
            rack.check(Repair::Mend).await;
            let (verdict, told) = rack.check(Repair::Report).await;
            assert!(verdict.is_sound(), "{told:#?}");
            // Lists may be in another order.
            let read = |rows: Kept| -> BTreeMap<_, _> {
                rows.into_iter().map(|((table, key), row)| {
                    let mut feeds: Option<Vec<FeedId>> = match Name::read(table, &key) {
                        Name::Serial(_) | Name::Code(_) | Name::ApiKey(_) => {
                            Some(rows::decode(&row).expect("readable"))
                        }
                        _ => None,
                    };
                    feeds.iter_mut().for_each(|feeds| feeds.sort_unstable());
                    let row = if feeds.is_some() { Vec::new() } else { row };
                    ((table, key), (feeds, row))
                }).collect()
            };
            assert_eq!(read(rack.copy()), read(sound));
        });
    }
}

/// What a check finds sound, staging goes on from.
#[tokio::test]
async fn a_mended_store_goes_on() {
    let rack = Rack::filled().await;
    let mut counters: Counters = rack.decoded(Table::Meta, COUNTERS_KEY);
    counters.newest_feed = 2;
    rack.set(Table::Meta, COUNTERS_KEY, &counters);
    rack.check(Repair::Mend).await;
    let counters: Counters = rack.decoded(Table::Meta, COUNTERS_KEY);
    let mut staging = Staging::new(&rack, counters);
    let batch = Batch {
        product: conformance::product(0),
        generation: 2,
        devices: vec![Registrant {
            serial: serial("new"),
            codes: Vec::new(),
            hardware: Facts::default(),
            label: None,
        }],
        at: Timestamp::from_millis(0),
    };
    staging.register(&batch).expect("staged");
    staging
        .write(Write::Note, &[conformance::an_event()])
        .expect("staged");
    let changes = staging.finish().expect("staged");
    assert_eq!(
        changes.counters.newest_feed, 9,
        "no feed is given out twice"
    );
}
