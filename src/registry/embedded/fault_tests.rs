//! What the store does when its disk fails, and what it finds afterwards:
//! nothing acknowledged is lost, nothing is half there, and it goes on by
//! itself when the cause has gone.

use std::fs;
use std::path::Path;

use super::faults::WriteFault;
use super::*;
use crate::registry::check::{Repair, Terms};
use crate::registry::conformance;

const NOW: Timestamp = Timestamp::from_millis(1_700_000_000_000);

async fn note(registry: &Embedded) -> Result<Commit, RegistryError> {
    let events = vec![conformance::an_event()];
    registry.commit(Write::Note, events).await
}

async fn numbers(registry: &Embedded) -> Vec<u64> {
    let events = registry.events(0, 10_000).await.expect("readable");
    events.into_iter().map(|event| event.seq).collect()
}

fn is_unavailable<T>(outcome: &Result<T, RegistryError>) -> bool {
    matches!(outcome, Err(RegistryError::Unavailable(_)))
}

/// Reads, once the writer has opened the store again.
async fn settled(registry: &Embedded) {
    // Behind the wish to reopen in the writer's queue, and lost by itself.
    let nobody = Write::RemoveOperator(crate::OperatorName::parse("nobody").expect("valid"));
    let asked = registry.commit(nobody, Vec::new()).await;
    assert_eq!(asked, Ok(Commit::Lost));
}

/// Whether everything fits together, as a check of the closed store says.
async fn assert_sound(path: &Path) {
    let sealing = conformance::specimen::sealing();
    let terms = Terms {
        sealing: Some(&sealing),
        now: NOW,
        repair: Repair::Report,
    };
    let mut told = Vec::new();
    let mut tell = |progress| told.push(progress);
    let verdict = Embedded::check(path, terms, &mut tell).await;
    assert!(verdict.expect("readable").is_sound(), "{told:?}");
}

#[tokio::test]
async fn a_full_disk_loses_nothing_and_ends_by_itself() {
    let home = tempfile::tempdir().expect("a directory");
    let path = home.path().join("registry");
    let registry = Embedded::open(&path).expect("opens");
    let feeds = conformance::specimen::fill(&registry).await;
    let before = numbers(&registry).await;
    registry.shared.faults.fail_writes(1, WriteFault::Full);
    assert_eq!(note(&registry).await, Ok(Commit::Done), "there is room yet");
    for _ in 0..3 {
        assert!(is_unavailable(&note(&registry).await));
        let suspend = registry.device(feeds[0]).await;
        assert!(suspend.is_ok_and(|found| found.is_some()) || registry.shared.store().is_err());
    }
    settled(&registry).await;
    assert_eq!(numbers(&registry).await.len(), before.len() + 1);
    registry.shared.faults.end();
    assert_eq!(note(&registry).await, Ok(Commit::Done));
    let after = numbers(&registry).await;
    assert_eq!(after, (1..=before.len() as u64 + 2).collect::<Vec<_>>());
    assert_eq!(*registry.newest().borrow(), after.len() as u64);
    drop(registry);
    assert_sound(&path).await;
}

/// The subtle one: nobody was told, and it has happened.
#[tokio::test]
async fn what_a_failed_sync_wrote_is_read_anew() {
    let home = tempfile::tempdir().expect("a directory");
    let path = home.path().join("registry");
    let registry = Embedded::open(&path).expect("opens");
    let feed = conformance::specimen::fill(&registry).await[1];
    let mut newest = registry.newest();
    newest.mark_unchanged();
    let before = numbers(&registry).await.len();
    let device = registry.device(feed).await.expect("readable");
    let device = device.expect("registered");
    let suspend = device
        .clone()
        .apply(crate::Transition::Suspend, NOW)
        .expect("allowed");
    registry.shared.faults.fail_writes(0, WriteFault::Unsynced);
    let write = || Write::Device(suspend.device.clone());
    let unknown = registry.commit(write(), suspend.events.clone()).await;
    assert!(is_unavailable(&unknown));
    registry.shared.faults.end();
    settled(&registry).await;
    // It is there, whoever follows the log learns of it, and the version has
    // moved: what was decided on the old one is lost.
    let found = registry.device(feed).await.expect("readable");
    let found = found.expect("there");
    assert_eq!(found.lifecycle(), crate::Lifecycle::Suspended);
    assert_eq!(found.version, device.version + 1);
    assert!(newest.has_changed().expect("open"));
    let lost = registry.commit(write(), suspend.events).await;
    assert_eq!(lost, Ok(Commit::Lost));
    let feeds = conformance::register(&registry, 0, &["later"]).await;
    assert_eq!(feeds[0].as_u32(), 9);
    let after = numbers(&registry).await;
    assert_eq!(after, (1..=before as u64 + 2).collect::<Vec<_>>());
    drop(registry);
    assert_sound(&path).await;
}

#[tokio::test]
async fn everybody_in_a_failed_batch_is_told_so() {
    let home = tempfile::tempdir().expect("a directory");
    let registry = Arc::new(Embedded::open(&home.path().join("registry")).expect("opens"));
    assert_eq!(note(&registry).await, Ok(Commit::Done));
    registry.shared.faults.fail_writes(0, WriteFault::Full);
    let waiting: Vec<_> = (0..200)
        .map(|_| {
            let registry = Arc::clone(&registry);
            tokio::spawn(async move { note(&registry).await })
        })
        .collect();
    for one in waiting {
        assert!(is_unavailable(&one.await.expect("no panic")));
    }
    registry.shared.faults.end();
    settled(&registry).await;
    assert_eq!(numbers(&registry).await, [1], "what was told, no more");
}

#[tokio::test]
async fn whoever_asks_whether_it_can_write_is_told() {
    let home = tempfile::tempdir().expect("a directory");
    let registry = Embedded::open(&home.path().join("registry")).expect("opens");
    let probe = || registry.commit(Write::Note, Vec::new());
    assert_eq!(probe().await, Ok(Commit::Done));
    registry.shared.faults.fail_writes(0, WriteFault::Full);
    assert!(is_unavailable(&note(&registry).await));
    assert!(is_unavailable(&probe().await), "nothing to write, and yet");
    registry.shared.faults.end();
    assert_eq!(probe().await, Ok(Commit::Done));
}

#[tokio::test]
async fn a_disk_that_cannot_be_read_admits_nobody_and_comes_back() {
    let home = tempfile::tempdir().expect("a directory");
    let registry = Embedded::open(&home.path().join("registry")).expect("opens");
    let feed = conformance::specimen::fill(&registry).await[0];
    registry.shared.faults.fail_reads();
    assert!(is_unavailable(&registry.device(feed).await));
    assert!(is_unavailable(
        &registry.product(&conformance::product(0)).await
    ));
    registry.shared.faults.end();
    assert!(registry.device(feed).await.is_ok());

    // A store that is closed and cannot be opened again, for a while.
    registry.shared.faults.fail_opens();
    registry
        .shared
        .replace(Err(RegistryError::Unavailable("closed".to_owned())));
    assert!(is_unavailable(&note(&registry).await));
    assert!(is_unavailable(&registry.device(feed).await));
    registry.shared.faults.end();
    settled(&registry).await;
    assert!(
        registry
            .device(feed)
            .await
            .is_ok_and(|found| found.is_some())
    );
}

/// The journal that is written now, without the room kept behind it, and the
/// rest of the store.
struct Killed {
    home: tempfile::TempDir,
    journal: Vec<u8>,
    /// The mark before the last batch: a power cut may leave that one.
    mark: Vec<u8>,
    /// How long the journal was, once each batch was acknowledged.
    acknowledged: Vec<usize>,
    /// Devices and events before the first of them.
    before: (u64, usize),
    devices: usize,
}

const JOURNAL: &str = "0.jnl";

impl Killed {
    /// A store that was killed: its files as they lie there while it is open.
    /// Batches are of so many devices.
    async fn new(devices: usize) -> Self {
        let home = tempfile::tempdir().expect("a directory");
        let path = home.path().join("registry");
        let registry = Embedded::open(&path).expect("opens");
        conformance::specimen::fill(&registry).await;
        let before = (8, numbers(&registry).await.len());
        let length = || used(&fs::read(path.join(JOURNAL)).expect("a journal")).len();
        let (mut acknowledged, mut mark) = (Vec::new(), Vec::new());
        for n in 0..6 {
            mark = fs::read(path.join(mark::NAME)).expect("a mark");
            let serials: Vec<String> = (0..devices).map(|m| format!("{n}-{m}")).collect();
            let serials: Vec<&str> = serials.iter().map(String::as_str).collect();
            conformance::register(&registry, 0, &serials).await;
            acknowledged.push(length());
        }
        let copy = home.path().join("killed");
        let done = std::process::Command::new("cp")
            .args(["-r", "--sparse=always"])
            .args([&path, &copy])
            .status();
        assert!(done.expect("cp").success());
        let journal = used(&fs::read(copy.join(JOURNAL)).expect("a journal"));
        fs::remove_file(copy.join(JOURNAL)).expect("removed");
        Self {
            home,
            journal,
            mark,
            acknowledged,
            before,
            devices,
        }
    }

    /// Opens it with this journal in place of its own: how many batches there
    /// are, each of them whole, or why not.
    async fn opened_with(&self, journal: &[u8]) -> Result<usize, String> {
        let path = self.home.path().join("opened");
        drop(fs::remove_dir_all(&path));
        let done = std::process::Command::new("cp")
            .arg("-r")
            .args([&self.home.path().join("killed"), &path])
            .status();
        assert!(done.expect("cp").success());
        fs::write(path.join(JOURNAL), journal).expect("written");
        fs::write(path.join(mark::NAME), &self.mark).expect("written");
        let registry = match Embedded::open(&path) {
            Ok(registry) => registry,
            Err(error) => return Err(error.to_string()),
        };
        let events = numbers(&registry).await.len() - self.before.1;
        let census = registry.census().await.expect("readable").total() - self.before.0;
        assert_eq!(
            (events as u64, events % self.devices),
            (census, 0),
            "never half a batch"
        );
        // And it goes on.
        conformance::register(&registry, 0, &["later"]).await;
        drop(registry);
        assert_sound(&path).await;
        Ok(events / self.devices)
    }
}

/// Without the zeros at the end.
fn used(journal: &[u8]) -> Vec<u8> {
    let end = journal.iter().rposition(|byte| *byte != 0);
    journal[..end.map_or(0, |end| end + 1)].to_vec()
}

#[tokio::test]
async fn a_torn_last_write_is_whole_or_not_there() {
    let killed = Killed::new(2).await;
    let all = killed.acknowledged.len();
    assert_eq!(killed.opened_with(&killed.journal).await, Ok(all));
    let last = killed.acknowledged[all - 2];
    // Cut off anywhere in the last batch, with and without the room behind it.
    let step = ((killed.journal.len() - last) / 12).max(1);
    for cut in (last..killed.journal.len()).step_by(step) {
        let torn = &killed.journal[..cut];
        assert_eq!(killed.opened_with(torn).await, Ok(all - 1), "cut at {cut}");
        let padded = [torn, &[0; 4096]].concat();
        assert_eq!(
            killed.opened_with(&padded).await,
            Ok(all - 1),
            "cut at {cut}"
        );
    }
}

#[tokio::test]
async fn a_damaged_last_write_that_the_mark_does_not_know_is_dropped() {
    let killed = Killed::new(2).await;
    let all = killed.acknowledged.len();
    let last = killed.acknowledged[all - 2];
    let step = ((killed.journal.len() - last) / 24).max(1);
    let mut dropped = 0;
    for at in (last..killed.journal.len()).step_by(step) {
        let mut journal = killed.journal.clone();
        journal[at] ^= 0x55;
        match killed.opened_with(&journal).await {
            Ok(found) => {
                assert!(
                    (all - 1..=all).contains(&found),
                    "{found} batches, flipped at {at}"
                );
                dropped += 1;
            }
            Err(sentence) => assert!(sentence.contains("the order of its writes"), "{sentence}"),
        }
    }
    assert!(dropped > 20, "{dropped}");
}

#[tokio::test]
async fn a_last_write_that_the_mark_knows_is_missed() {
    let mut killed = Killed::new(2).await;
    let all = killed.acknowledged.len();
    let last = killed.acknowledged[all - 2];
    let exact = killed.home.path().join("killed").join(mark::NAME);
    killed.mark = fs::read(exact).expect("a mark");
    assert_eq!(killed.opened_with(&killed.journal).await, Ok(all));
    for cut in [last, last + 1, killed.journal.len() - 1] {
        let refused = killed.opened_with(&killed.journal[..cut]).await;
        let sentence = refused.expect_err("it was acknowledged");
        assert!(
            sentence.contains("events 44 to 45 would be lost"),
            "{sentence}"
        );
        let left = fs::read(killed.home.path().join("opened").join(JOURNAL));
        assert_eq!(left.expect("readable").len(), cut, "nothing was changed");
    }
}

/// What a power cut may leave: pages of the last write in no order.
#[tokio::test]
async fn a_last_write_with_a_hole_is_not_there() {
    const SECTOR: usize = 4096;
    let killed = Killed::new(300).await;
    let all = killed.acknowledged.len();
    let last = killed.acknowledged[all - 2];
    let pages = last.div_ceil(SECTOR)..killed.journal.len() / SECTOR;
    let step = (pages.len() / 20).max(1);
    assert!(pages.len() > 10, "{pages:?}");
    for page in pages.step_by(step) {
        let mut journal = killed.journal.clone();
        journal[page * SECTOR..(page + 1) * SECTOR].fill(0);
        let found = killed.opened_with(&journal).await;
        assert_eq!(found, Ok(all - 1), "page {page}");
    }
}

/// Every file below a directory.
fn files(directory: &Path) -> Vec<std::path::PathBuf> {
    let entries = fs::read_dir(directory).expect("readable");
    let below = entries.flat_map(|entry| {
        let path = entry.expect("readable").path();
        match path.is_dir() {
            true => files(&path),
            false => vec![path],
        }
    });
    below.collect()
}

#[tokio::test]
async fn a_damaged_backup_is_refused() {
    let home = tempfile::tempdir().expect("a directory");
    let registry = Embedded::open(&home.path().join("registry")).expect("opens");
    conformance::specimen::fill(&registry).await;
    let copy = home.path().join("copy");
    registry.back_up(&copy, NOW).await.expect("copied");
    let place = home.path().join("restored");
    let mut refused = 0;
    for file in files(&copy.join("registry")) {
        let sound = fs::read(&file).expect("readable");
        let step = (sound.len() / 6).max(1);
        for at in (0..sound.len()).step_by(step) {
            let mut damaged = sound.clone();
            damaged[at] ^= 0x10;
            fs::write(&file, damaged).expect("written");
            let outcome = Embedded::restore(&copy, &place, None);
            assert!(
                matches!(outcome, Err(NotRestored::Damaged(_))),
                "{file:?} at {at}"
            );
            refused += 1;
            assert!(!place.exists());
        }
        fs::write(&file, sound).expect("written");
    }
    assert!(refused > 50, "{refused}");
    Embedded::restore(&copy, &place, None).expect("it is as it was");
}
