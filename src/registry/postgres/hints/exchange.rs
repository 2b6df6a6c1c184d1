//! Which letters of other servers are taken.
//!
//! Whoever may connect to the database may notify on any channel, and repeat
//! what it has heard there. So a letter is taken once, from a server that has
//! the key, and only if it names an epoch that was drawn after this server
//! began to listen: no recording from before that can. Everything else is
//! counted and dropped. What is dropped by mistake, as in the moment until the
//! others know a new epoch, is made up for by [`Hint::Missed`].

use std::collections::{HashMap, VecDeque};
use std::sync::{Mutex, MutexGuard, PoisonError};

use super::super::place::{Epoch, Place};
use super::letter::{self, Letter, Sealed};
use crate::registry::{Hint, HintCredentials};

/// Epochs that letters may name; there is a new one for each server's start.
const EPOCHS: usize = 8;
/// Senders that are remembered before a new epoch is drawn.
const SENDERS: usize = 1024;
/// Regular looks after a beginning until every other server knows its epoch.
const SETTLING: u8 = 2;

/// What a notification was.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Arrival {
    /// Nothing to be taken in.
    Nothing,
    /// Another server's letter.
    Letter {
        /// Whether there are new events.
        events: bool,
        /// Its hints.
        hints: Vec<Hint>,
    },
    /// A letter of an epoch that is not known: either a server has begun just
    /// now, or an old letter was repeated. The registry knows which.
    Unknown,
}

/// A wish for a new epoch, good until the line is lost.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Wish(u64);

/// What one server seals, opens, and remembers.
#[derive(Default)]
pub(in super::super) struct Exchange(Mutex<State>);

#[derive(Default)]
struct State {
    credentials: Option<HintCredentials>,
    /// The newest one known.
    place: Option<Place>,
    /// The number of the newest letter that was sealed.
    number: u64,
    /// Whether somebody here takes in hints.
    listens: bool,
    /// How often the line was lost.
    lost: u64,
    /// Those that were drawn since the line is there, newest last; none until
    /// this server has drawn one itself.
    epochs: VecDeque<Epoch>,
    /// By sender, the number of its newest letter.
    heard: HashMap<[u8; 16], u64>,
    unknown: Unknown,
    /// Regular looks to come until it has settled.
    settling: u8,
    dropped: u64,
}

/// Letters of unknown epochs since the last look.
#[derive(Default)]
struct Unknown {
    count: u64,
    had_hints: bool,
}

impl Exchange {
    pub(in super::super) fn introduce(&self, credentials: HintCredentials) {
        self.state().credentials = Some(credentials);
    }

    pub(in super::super) fn listen(&self) {
        self.state().listens = true;
    }

    /// How many notifications were no letter of another server, or one that
    /// was heard before.
    pub(in super::super) fn dropped(&self) -> u64 {
        self.state().dropped
    }

    /// The line is lost: letters may be missed until it is there again.
    pub(in super::super) fn lose(&self) {
        let mut state = self.state();
        state.lost += 1;
        state.epochs.clear();
    }

    /// Whether an epoch has to be drawn, now that the line is there.
    pub(super) fn wants_epoch(&self) -> Option<Wish> {
        let state = self.state();
        let wants = state.listens && state.credentials.is_some() && state.epochs.is_empty();
        wants.then_some(Wish(state.lost))
    }

    /// Takes letters from now on that name this epoch, or a later one.
    pub(super) fn begin(&self, wish: Wish, place: Place) -> bool {
        let mut state = self.state();
        if wish != Wish(state.lost) {
            return false;
        }
        state.epochs = VecDeque::from([place.epoch]);
        state.place = Some(place);
        state.heard.clear();
        state.settling = SETTLING;
        true
    }

    /// Takes in what the registry says. Returns whether hints were missed.
    pub(in super::super) fn learn(&self, place: Place) -> bool {
        let mut state = self.state();
        let is_new = !state.epochs.is_empty() && !state.epochs.contains(&place.epoch);
        if is_new {
            if state.epochs.len() == EPOCHS {
                state.epochs.pop_front();
            }
            state.epochs.push_back(place.epoch);
        }
        state.place = Some(place);
        let Unknown { count, had_hints } = std::mem::take(&mut state.unknown);
        let is_explained = is_new || state.settling > 0;
        if !is_explained {
            state.dropped += count;
        }
        is_explained && had_hints
    }

    /// Some time has passed.
    pub(super) fn settle(&self) {
        let mut state = self.state();
        state.settling = state.settling.saturating_sub(1);
    }

    /// Seals a letter; `None` as long as there is nothing to seal it with.
    pub(super) fn seal(&self, events: bool, hints: Vec<u8>) -> Option<String> {
        let mut state = self.state();
        let state = &mut *state;
        let (credentials, place) = (state.credentials.as_ref()?, state.place.as_ref()?);
        state.number += 1;
        let letter = Letter {
            epoch: place.epoch,
            events,
            hints,
        };
        letter::seal(credentials, state.number, &place.database, &letter)
    }

    /// Reads a notification.
    pub(super) fn open(&self, payload: &str) -> Arrival {
        let mut state = self.state();
        let opened = state.open(payload);
        opened.unwrap_or_else(|| {
            state.dropped += 1;
            Arrival::Nothing
        })
    }

    /// The newest epoch whose letters are taken.
    #[cfg(test)]
    pub(in super::super) fn epoch(&self) -> Option<Epoch> {
        self.state().epochs.back().copied()
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    /// `None`: it is to be dropped, and counted.
    fn open(&mut self, payload: &str) -> Option<Arrival> {
        let (Some(credentials), Some(place), false) =
            (&self.credentials, &self.place, self.epochs.is_empty())
        else {
            return Some(Arrival::Nothing);
        };
        let sealed = Sealed::parse(payload)?;
        if sealed.session == credentials.session {
            // The database notifies the sender, too.
            return Some(Arrival::Nothing);
        }
        let newest = self.heard.get(&sealed.session);
        if newest.is_some_and(|newest| sealed.number <= *newest) {
            return None;
        }
        let letter = sealed.open(credentials, &place.database)?;
        if !self.epochs.contains(&letter.epoch) {
            self.unknown.count += 1;
            self.unknown.had_hints |= !letter.hints.is_empty();
            return Some(Arrival::Unknown);
        }
        self.heard.insert(sealed.session, sealed.number);
        if self.heard.len() > SENDERS {
            // To forget a sender is safe only behind a new epoch.
            self.epochs.clear();
        }
        Some(Arrival::Letter {
            events: letter.events,
            // Of another version, but not of a stranger.
            hints: decode(&letter.hints).unwrap_or_else(|| vec![Hint::Missed]),
        })
    }
}

fn decode(mut rest: &[u8]) -> Option<Vec<Hint>> {
    let mut hints = Vec::new();
    while !rest.is_empty() {
        let (hint, behind) = postcard::take_from_bytes(rest).ok()?;
        hints.push(hint);
        rest = behind;
    }
    Some(hints)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::entropy::counting::Counting;
    use crate::identity::FeedId;
    use crate::sealing::SealingKey;

    /// Servers with one key each of those given, on one registry.
    struct World {
        entropy: Counting,
        keys: [SealingKey; 2],
        epoch: std::cell::Cell<u8>,
    }

    impl World {
        fn new() -> Self {
            let entropy = Counting::default();
            let keys = [(); 2].map(|()| SealingKey::generate(&entropy));
            let epoch = std::cell::Cell::new(0);
            Self {
                entropy,
                keys,
                epoch,
            }
        }

        fn place(&self) -> Place {
            Place {
                database: "7".to_owned(),
                epoch: [self.epoch.get(); 16],
            }
        }

        /// One that has drawn its epoch.
        fn server(&self, key: usize) -> Exchange {
            let server = Exchange::default();
            server.introduce(HintCredentials::draw(&self.keys[key], &self.entropy));
            server.listen();
            self.begin(&server);
            server
        }

        fn begin(&self, server: &Exchange) {
            let wish = server.wants_epoch().expect("wanted");
            self.epoch.set(self.epoch.get() + 1);
            assert!(server.begin(wish, self.place()));
        }
    }

    fn mail() -> Vec<u8> {
        let feed = FeedId::FIRST;
        postcard::to_allocvec(&Hint::Mail { feed }).expect("short")
    }

    fn taken() -> Arrival {
        let feed = FeedId::FIRST;
        Arrival::Letter {
            events: false,
            hints: vec![Hint::Mail { feed }],
        }
    }

    #[test]
    fn a_letter_is_taken_once_and_by_others() {
        let world = World::new();
        let (one, two) = (world.server(0), world.server(0));
        assert!(!one.learn(world.place()), "nothing was missed");
        let letters = [(); 3].map(|()| one.seal(false, mail()).expect("sealed"));
        assert_eq!(one.open(&letters[0]), Arrival::Nothing, "its own");
        assert_eq!(two.open(&letters[1]), taken());
        // Again, and one that is older.
        assert_eq!(two.open(&letters[1]), Arrival::Nothing);
        assert_eq!(two.open(&letters[0]), Arrival::Nothing);
        assert_eq!(two.open(&letters[2]), taken());
        assert_eq!((one.dropped(), two.dropped()), (0, 2));
    }

    #[test]
    fn another_key_says_nothing() {
        let world = World::new();
        let (one, two) = (world.server(0), world.server(1));
        one.learn(world.place());
        let letter = one.seal(true, mail()).expect("sealed");
        assert_eq!(two.open(&letter), Arrival::Nothing);
        for forged in ["", "7", "999999999", "x AAAA", &letter[1..], &letter[..99]] {
            assert_eq!(two.open(forged), Arrival::Nothing, "{forged}");
        }
        assert_eq!(two.dropped(), 7);
    }

    #[test]
    fn a_recording_is_not_taken_by_one_that_begins() {
        let world = World::new();
        let (one, two) = (world.server(0), world.server(0));
        one.learn(world.place());
        let letter = one.seal(false, mail()).expect("sealed");
        let begun_anew = world.server(0);
        assert_eq!(begun_anew.open(&letter), Arrival::Unknown);
        assert!(begun_anew.learn(world.place()), "it may be a late one");
        begun_anew.settle();
        begun_anew.settle();
        assert_eq!(begun_anew.open(&letter), Arrival::Unknown);
        assert!(!begun_anew.learn(world.place()), "it is an old one");
        assert_eq!(begun_anew.dropped(), 1);
        // One whose line was lost is like one that begins.
        assert_eq!(two.open(&letter), taken());
        two.lose();
        assert_eq!(two.open(&letter), Arrival::Nothing);
        world.begin(&two);
        assert_eq!(two.open(&letter), Arrival::Unknown);
    }

    #[test]
    fn a_new_epoch_is_learned() {
        let world = World::new();
        let one = world.server(0);
        let two = world.server(0);
        for _ in 0..2 {
            one.settle();
        }
        let hello = two.seal(true, Vec::new()).expect("sealed");
        assert_eq!(one.open(&hello), Arrival::Unknown);
        assert!(!one.learn(world.place()), "it said nothing else");
        assert_eq!(one.dropped(), 0);
        let letter = two.seal(false, mail()).expect("sealed");
        assert_eq!(one.open(&letter), taken());
        // One that was not understood in time is made up for.
        let three = world.server(0);
        let letter = three.seal(false, mail()).expect("sealed");
        assert_eq!(one.open(&letter), Arrival::Unknown);
        assert!(one.learn(world.place()), "something was missed");
    }

    #[test]
    fn nothing_is_said_or_heard_without_a_key_and_what_is_remembered_is_bounded() {
        let world = World::new();
        let mute = Exchange::default();
        mute.learn(world.place());
        assert_eq!(mute.seal(true, mail()), None);
        assert_eq!(mute.open("anything"), Arrival::Nothing);
        assert_eq!(mute.wants_epoch(), None);

        let one = world.server(0);
        for sender in 0..=SENDERS {
            assert_eq!(one.wants_epoch(), None, "{sender}");
            let other = Exchange::default();
            other.introduce(HintCredentials::draw(&world.keys[0], &world.entropy));
            other.learn(world.place());
            let letter = other.seal(false, mail()).expect("sealed");
            assert_eq!(one.open(&letter), taken());
        }
        world.begin(&one);
        assert!(one.state().heard.is_empty());
    }

    #[test]
    fn a_wish_ends_with_the_line() {
        let world = World::new();
        let one = world.server(0);
        one.lose();
        let wish = one.wants_epoch().expect("wanted");
        one.lose();
        assert!(!one.begin(wish, world.place()));
        assert!(one.wants_epoch().is_some());
    }
}
