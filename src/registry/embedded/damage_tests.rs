//! Single bits that change on the disk: everything that was acknowledged is
//! there, or the store is refused and left as it is.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use super::*;
use crate::registry::check::{Repair, Shelves, Terms};
use crate::registry::conformance;
use crate::{Lifecycle, Transition};

const NOW: Timestamp = Timestamp::from_millis(1_700_000_000_000);

type Rows = BTreeMap<(Table, Vec<u8>), Vec<u8>>;

async fn rows(shelves: &dyn Shelves) -> Result<Rows, RegistryError> {
    let mut rows = Rows::new();
    for table in Table::ALL {
        let page = shelves.page(table, None, 100_000).await?;
        rows.extend(page.into_iter().map(|(key, row)| ((table, key), row)));
    }
    Ok(rows)
}

/// A closed store with thirty writes or so in its journal, among them one that
/// revokes a device; what is in it; and the device.
async fn written(path: &Path) -> (Rows, FeedId) {
    let registry = Embedded::open(path).expect("opens");
    conformance::specimen::fill(&registry).await;
    let feeds = conformance::register(&registry, 0, &["a", "b", "c"]).await;
    for n in 0..10 {
        conformance::register(&registry, 0, &[&format!("{n}")]).await;
        let note = registry.commit(Write::Note, vec![conformance::an_event()]);
        assert_eq!(note.await, Ok(Commit::Done));
    }
    let device = registry.device(feeds[1]).await.expect("readable");
    let device = device.expect("registered");
    let revoked = device.apply(Transition::Revoke, NOW).expect("allowed");
    let write = Write::Device(revoked.device);
    assert_eq!(
        registry.commit(write, revoked.events).await,
        Ok(Commit::Done)
    );
    for n in 10..16 {
        conformance::register(&registry, 0, &[&format!("{n}")]).await;
    }
    let shelves = registry.shelves();
    (rows(&*shelves).await.expect("readable"), feeds[1])
}

fn copy(from: &Path, to: &Path) {
    drop(fs::remove_dir_all(to));
    let done = std::process::Command::new("cp")
        .args(["-r", "--sparse=always"])
        .args([from, to])
        .status();
    assert!(done.expect("cp").success());
}

fn files(directory: &Path) -> Vec<PathBuf> {
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

/// Whether a file of a table is not a list that another has replaced.
fn is_used(file: &Path) -> bool {
    let name = file.file_name().and_then(|name| name.to_str());
    let list: Option<u64> = name
        .and_then(|name| name.strip_prefix('v'))
        .and_then(|number| number.parse().ok());
    let current = fs::read(file.with_file_name("current")).unwrap_or_default();
    list.is_none_or(|list| current.starts_with(&list.to_le_bytes()))
}

/// All files of a directory, the zeros at a journal's end aside.
fn contents(directory: &Path) -> BTreeMap<PathBuf, Vec<u8>> {
    let read = |path: PathBuf| (path.clone(), journal::used(&path).expect("readable"));
    files(directory).into_iter().map(read).collect()
}

async fn check(path: &Path, repair: Repair) -> Result<Verdict, NotChecked> {
    let sealing = conformance::specimen::sealing();
    let terms = Terms {
        sealing: Some(&sealing),
        now: NOW,
        repair,
    };
    Embedded::check(path, terms, &mut |_| {}).await
}

/// Whether all of it is there after a flip; otherwise it is refused.
async fn is_whole(path: &Path, expected: &Rows, flip: &str) -> bool {
    let before = contents(path);
    let registry = match Embedded::open(path) {
        Ok(registry) => registry,
        Err(OpenError::Damaged { .. } | OpenError::Behind { .. }) => {
            assert_eq!(contents(path), before, "nothing was changed, {flip}");
            return false;
        }
        Err(_) => return false,
    };
    let Ok(found) = rows(&*registry.shelves()).await else {
        return false;
    };
    for (row, value) in expected {
        assert_eq!(found.get(row), Some(value), "{row:?}, {flip}");
    }
    assert_eq!(found.len(), expected.len(), "{flip}");
    true
}

/// A check says the same as a start, and changes nothing.
async fn is_found_whole(path: &Path, flip: &str) -> bool {
    let before = contents(path);
    let checked = check(path, Repair::Report).await;
    assert_eq!(contents(path), before, "a check changes nothing, {flip}");
    checked.is_ok_and(|verdict| verdict.is_sound())
}

#[tokio::test]
async fn a_flipped_bit_in_a_journal_loses_nothing_in_silence() {
    const FLIPS: usize = 150;
    let home = tempfile::tempdir().expect("a directory");
    let (path, damaged) = (home.path().join("registry"), home.path().join("damaged"));
    let (expected, _) = written(&path).await;
    copy(&path, &damaged);
    assert!(is_found_whole(&damaged, "no flip").await);
    let journal = journal::used(&path.join("0.jnl")).expect("readable");
    let (mut whole, mut refused) = (0, 0);
    let bits = journal.len() * 8;
    for n in 0..FLIPS {
        // Spread, and another bit of the byte each time.
        let bit = bits / FLIPS * n / 8 * 8 + n % 8;
        copy(&path, &damaged);
        let mut flipped = journal.clone();
        flipped[bit / 8] ^= 1 << (bit % 8);
        fs::write(damaged.join("0.jnl"), flipped).expect("written");
        let flip = format!("bit {bit} of {bits}");
        let is_found = match n % 10 {
            0 => Some(is_found_whole(&damaged, &flip).await),
            _ => None,
        };
        let is_whole = is_whole(&damaged, &expected, &flip).await;
        assert!(is_found.is_none_or(|found| found == is_whole), "{flip}");
        match is_whole {
            true => whole += 1,
            false => refused += 1,
        }
    }
    assert!(refused > FLIPS * 9 / 10, "{refused} refused, {whole} whole");
}

#[tokio::test]
async fn a_flipped_bit_in_a_table_loses_nothing_in_silence() {
    let home = tempfile::tempdir().expect("a directory");
    let (path, damaged) = (home.path().join("registry"), home.path().join("damaged"));
    let (filled, copied) = (home.path().join("filled"), home.path().join("copy"));
    written(&filled).await;
    let registry = Embedded::open(&filled).expect("opens");
    registry.back_up(&copied, NOW).await.expect("copied");
    drop(registry);
    Embedded::restore(&copied, &path, None).expect("restored");
    let registry = Embedded::open(&path).expect("opens");
    let expected = rows(&*registry.shelves()).await.expect("readable");
    drop(registry);
    copy(&path, &damaged);
    assert!(is_found_whole(&damaged, "no flip").await);
    assert!(is_whole(&damaged, &expected, "no flip").await);
    let (mut whole, mut refused) = (0, 0);
    // A list that another has replaced goes when the store finds the time to:
    // what is in it matters to nobody.
    for file in files(&path.join("keyspaces"))
        .into_iter()
        .filter(|file| is_used(file))
    {
        let bytes = fs::read(&file).expect("readable");
        let inside = file.strip_prefix(&path).expect("inside");
        for n in 0..6 {
            let at = bytes.len() * n / 6;
            if at >= bytes.len() {
                continue;
            }
            copy(&path, &damaged);
            let mut flipped = bytes.clone();
            flipped[at] ^= 1 << (n % 8);
            fs::write(damaged.join(inside), flipped).expect("written");
            let flip = format!("{inside:?} at {at}");
            let is_found = match n {
                1 => Some(is_found_whole(&damaged, &flip).await),
                _ => None,
            };
            let is_whole = is_whole(&damaged, &expected, &flip).await;
            assert!(is_found.is_none_or(|found| found == is_whole), "{flip}");
            match is_whole {
                true => whole += 1,
                false => refused += 1,
            }
        }
    }
    assert!(refused > 50, "{refused} refused, {whole} whole");
}

/// Damage far from the end, where nothing but the journal itself can tell; and
/// how its loss is accepted.
#[tokio::test]
async fn a_loss_can_be_accepted_and_takes_nothing_else_along() {
    let home = tempfile::tempdir().expect("a directory");
    let path = home.path().join("registry");
    let (expected, revoked) = written(&path).await;
    // As where a mark is missing: a registry of an earlier program.
    fs::remove_file(path.join(mark::NAME)).expect("removed");
    let mut journal = journal::used(&path.join("0.jnl")).expect("readable");
    let at = journal.windows(2).rposition(|two| two == b"\x0115");
    let at = at.unwrap_or(journal.len() / 3);
    journal[at] ^= 4;
    fs::write(path.join("0.jnl"), &journal).expect("written");
    let refused = Embedded::open(&path).expect_err("writes behind it are whole");
    let sentence = refused.to_string();
    assert!(sentence.contains("--accept-loss"), "{sentence}");
    for repair in [Repair::Report, Repair::Mend] {
        let refused = check(&path, repair).await.expect_err("damaged");
        assert_eq!(refused.to_string(), sentence);
    }
    check(&path, Repair::AcceptLoss).await.expect("checked");
    let kept = fs::read(path.join("0.jnl.damaged")).expect("as it was");
    assert_eq!(kept, journal);
    let registry = Embedded::open(&path).expect("opens");
    let found = registry.device(revoked).await.expect("readable");
    assert_eq!(found.expect("there").lifecycle(), Lifecycle::Revoked);
    let left = rows(&*registry.shelves()).await.expect("readable");
    assert!(left.len() + 12 > expected.len(), "one write is gone");
    let feeds = conformance::register(&registry, 0, &["later"]).await;
    assert_eq!(feeds[0].as_u32(), 25, "no feed twice");
}

#[tokio::test]
async fn a_store_behind_its_mark_goes_on_behind_the_feeds_of_the_mark() {
    let home = tempfile::tempdir().expect("a directory");
    let path = home.path().join("registry");
    written(&path).await;
    let earlier = home.path().join("earlier");
    copy(&path, &earlier);
    let registry = Embedded::open(&path).expect("opens");
    conformance::register(&registry, 0, &["x", "y", "z"]).await;
    drop(registry);
    // Older files under the newest mark.
    fs::copy(path.join(mark::NAME), earlier.join(mark::NAME)).expect("copied");
    let refused = Embedded::open(&earlier).expect_err("it has gone back");
    assert!(matches!(refused, OpenError::Behind { .. }), "{refused}");
    assert!(refused.to_string().contains("events"), "{refused}");
    check(&earlier, Repair::AcceptLoss).await.expect("checked");
    let registry = Embedded::open(&earlier).expect("opens");
    let feeds = conformance::register(&registry, 0, &["later"]).await;
    assert_eq!(feeds[0].as_u32(), 28, "no feed twice");
}

/// Journals that hold nothing, because tables hold it all.
#[tokio::test]
async fn a_store_whose_journal_is_empty_is_held_against_its_mark() {
    let home = tempfile::tempdir().expect("a directory");
    let path = home.path().join("registry");
    let (expected, _) = written(&path).await;
    let registry = Embedded::open(&path).expect("opens");
    registry.shared.store().expect("open").flush();
    drop(registry);
    let journals = fs::read_dir(&path).expect("readable");
    for entry in journals {
        let file = entry.expect("readable").path();
        if file.extension() == Some("jnl".as_ref()) {
            fs::write(&file, []).expect("emptied");
        }
    }
    let left = home.path().join("registry.checking");
    fs::create_dir(&left).expect("made");
    let registry = Embedded::open(&path).expect("everything is in tables");
    assert!(!left.exists(), "what a killed check left is gone");
    let found = rows(&*registry.shelves()).await.expect("readable");
    assert_eq!(found, expected);
    let note = registry.commit(Write::Note, vec![conformance::an_event()]);
    assert_eq!(note.await, Ok(Commit::Done));
    drop(registry);
    // The one write that the journal holds is damaged, and nothing follows.
    let file = files(&path).into_iter().find(|file| {
        let is_journal = file.extension() == Some("jnl".as_ref());
        is_journal && !journal::used(file).expect("readable").is_empty()
    });
    let file = file.expect("a journal");
    let mut journal = journal::used(&file).expect("readable");
    journal[30] ^= 1;
    fs::write(&file, &journal).expect("written");
    let refused = Embedded::open(&path).expect_err("the mark knows of it");
    assert!(matches!(refused, OpenError::Behind { .. }), "{refused}");
    assert_eq!(journal::used(&file).expect("readable"), journal);
}
