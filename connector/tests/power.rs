//! The power goes at every step, and comes back.
//!
//! A disk that forgets what was not synced is cut off after one step, after
//! two, and so on, until an activation comes to its end without. Whatever was
//! left, the next start ends with an active device that has the one key that
//! the server knows.

use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard};

use firstwake::{Key, Keys, Lifecycle, ProofPolicy, PublicKey, Timestamp};
use firstwake_connector::{
    ActivateError, Activated, CredentialsFile, Disk, Draft, Found, Lock, Made, Secret, Signing,
    activate,
};
use zeroize::Zeroizing;

use crate::fixture::{Fixture, HUNG};
use crate::server::{Server, serial};

const NAME: &str = "/device/credentials.json";

/// What a cut leaves of what was not synced.
#[derive(Clone, Copy, Debug)]
enum Leaves {
    /// Neither names nor contents.
    Nothing,
    /// The new names, of files without their contents.
    Names,
}

/// A disk in memory. Clones share it.
#[derive(Clone, Debug)]
struct Forgetful(Arc<Mutex<State>>);

#[derive(Debug)]
struct State {
    /// Steps until the power goes.
    steps: usize,
    /// Contents as they are read, and as a cut leaves them.
    files: Vec<(Vec<u8>, Vec<u8>)>,
    names: BTreeMap<PathBuf, usize>,
    synced_names: BTreeMap<PathBuf, usize>,
    directories: BTreeSet<PathBuf>,
}

impl Forgetful {
    fn with_power_for(steps: usize) -> Self {
        Self(Arc::new(Mutex::new(State {
            steps,
            files: Vec::new(),
            names: BTreeMap::new(),
            synced_names: BTreeMap::new(),
            directories: BTreeSet::new(),
        })))
    }

    /// The power comes back, for good.
    fn restart(&self, left: Leaves) {
        let mut state = self.0.lock().expect("lock");
        state.steps = usize::MAX;
        for (now, synced) in &mut state.files {
            now.clone_from(synced);
        }
        match left {
            Leaves::Nothing => state.names = state.synced_names.clone(),
            Leaves::Names => state.synced_names = state.names.clone(),
        }
    }

    fn is_off(&self) -> bool {
        self.0.lock().expect("lock").steps == 0
    }

    fn step(&self) -> io::Result<MutexGuard<'_, State>> {
        let mut state = self.0.lock().expect("lock");
        if state.steps == 0 {
            return Err(io::Error::other("the power is off"));
        }
        state.steps -= 1;
        Ok(state)
    }
}

impl Disk for Forgetful {
    fn read(&self, path: &Path, most: u64) -> io::Result<Option<Found>> {
        let state = self.step()?;
        let Some(file) = state.names.get(path) else {
            return Ok(None);
        };
        let (bytes, _) = &state.files[*file];
        assert!(bytes.len() <= usize::try_from(most).expect("a size"));
        Ok(Some(Found {
            bytes: Zeroizing::new(bytes.clone()),
            mode: 0o600,
        }))
    }

    fn make_directory(&self, path: &Path) -> io::Result<Made> {
        let is_new = self.step()?.directories.insert(path.to_owned());
        Ok(if is_new { Made::Now } else { Made::Before })
    }

    fn remove(&self, path: &Path) -> io::Result<()> {
        self.step()?.names.remove(path);
        Ok(())
    }

    fn create(&self, path: &Path) -> io::Result<Box<dyn Draft>> {
        let mut state = self.step()?;
        if state.names.contains_key(path) {
            return Err(io::ErrorKind::AlreadyExists.into());
        }
        let file = state.files.len();
        state.files.push((Vec::new(), Vec::new()));
        state.names.insert(path.to_owned(), file);
        drop(state);
        let disk = self.clone();
        Ok(Box::new(ForgetfulDraft { disk, file }))
    }

    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        let mut state = self.step()?;
        let file = state.names.remove(from).ok_or(io::ErrorKind::NotFound)?;
        state.names.insert(to.to_owned(), file);
        Ok(())
    }

    fn sync_directory(&self, _: &Path) -> io::Result<()> {
        let mut state = self.step()?;
        state.synced_names = state.names.clone();
        Ok(())
    }

    fn lock(&self, _: &Path) -> io::Result<Lock> {
        Ok(Lock::unshared())
    }

    fn try_lock(&self, _: &Path) -> io::Result<Option<Lock>> {
        Ok(Some(Lock::unshared()))
    }
}

struct ForgetfulDraft {
    disk: Forgetful,
    file: usize,
}

impl Draft for ForgetfulDraft {
    fn write(&mut self, bytes: &[u8]) -> io::Result<()> {
        let mut state = self.disk.step()?;
        state.files[self.file].0.extend(bytes);
        Ok(())
    }

    fn sync(&mut self) -> io::Result<()> {
        let mut state = self.disk.step()?;
        let (now, synced) = &mut state.files[self.file];
        synced.clone_from(now);
        Ok(())
    }
}

/// One start of the device.
async fn start(
    fixture: &Fixture,
    server: &Server,
    disk: &Forgetful,
) -> Result<Activated, ActivateError> {
    let mut device = fixture.device.clone();
    device.signing = Signing::KeyPair;
    device.credentials = CredentialsFile::on(Arc::new(disk.clone()), NAME);
    let code = server.code();
    tokio::select! {
        ended = activate(&device, Some(&code), HUNG) => ended,
        () = server.serve(&fixture.broker) => unreachable!("it serves for ever"),
    }
}

/// The public keys that the server has of the device.
async fn known_keys(server: &Server) -> Vec<PublicKey> {
    let (current, pending) = match server.device().await.keys {
        Keys::None => (None, None),
        Keys::Pending(pending) => (None, Some(pending)),
        Keys::Confirmed { current, pending } => (Some(current), pending),
    };
    let keys = current.into_iter().chain(pending);
    keys.map(|key| match key {
        Key::Public(key) => key,
        other => panic!("{other:?}"),
    })
    .collect()
}

#[tokio::test]
async fn a_power_cut_at_any_step_costs_nothing() {
    for left in [Leaves::Nothing, Leaves::Names] {
        for lost_answer in [None, Some(0), Some(1)] {
            let mut cuts = 0;
            while is_survived(cuts, lost_answer, left).await {
                cuts += 1;
            }
            assert!(cuts > 20, "there are more steps than {cuts} to be cut at");
        }
    }
}

/// Activates, with the power going after so many steps, and again with power.
/// Whether the power went at all.
async fn is_survived(cut: usize, lost_answer: Option<usize>, left: Leaves) -> bool {
    let case = format!("cut after {cut}, answer {lost_answer:?} lost, {left:?} left");
    let fixture = Fixture::new().await;
    let server = Server::new(ProofPolicy::Either).await;
    if let Some(answer) = lost_answer {
        server.loses_an_answer_after(answer);
    }
    let disk = Forgetful::with_power_for(cut);
    let first = start(&fixture, &server, &disk).await;
    let was_cut = disk.is_off();
    assert!(first.is_ok() || was_cut, "{case}: {first:?}");
    let before = known_keys(&server).await;

    disk.restart(left);
    let second = start(&fixture, &server, &disk).await;
    assert!(second.is_ok(), "{case}: {second:?}");

    let file = CredentialsFile::on(Arc::new(disk), NAME);
    let stored = file.load(&serial()).expect("readable").expect("stored");
    let Secret::KeyPair(pair) = stored.credentials().secret() else {
        panic!("{case}: no key pair");
    };
    let device = server.device().await;
    assert_eq!(device.lifecycle(), Lifecycle::Active, "{case}");
    assert_eq!(known_keys(&server).await, [pair.public()], "{case}");
    assert!(before.iter().all(|key| *key == pair.public()), "{case}");
    assert_eq!(stored.credentials().feed_id(), Some(device.feed), "{case}");
    was_cut
}

#[test]
fn a_number_never_comes_back() {
    const NOW: Timestamp = Timestamp::from_millis(1_763_800_000_123);
    for left in [Leaves::Nothing, Leaves::Names] {
        for cut in 0..40 {
            let disk = Forgetful::with_power_for(cut);
            let counter = CredentialsFile::on(Arc::new(disk.clone()), NAME).counter();
            let mut drawn = Vec::new();
            while let Ok(numbers) = counter.reserve(3, NOW) {
                drawn.extend(numbers);
                if drawn.len() > 100 {
                    break;
                }
            }
            disk.restart(left);
            let next = counter.reserve(1, NOW).expect("numbers");
            let last = drawn.last().copied().unwrap_or_default();
            assert!(next.start > last, "cut after {cut}: {next:?} after {last}");
        }
    }
}
