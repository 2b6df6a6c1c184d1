//! Who gets a place, who loses one, and that all are given back.

use proptest::prelude::*;

use super::*;

const BOUNDS: Bounds = Bounds {
    connections: 100,
    per_source: 50,
    silent: 8,
    silent_per_source: 6,
};

fn source(n: u8) -> Source {
    Source::from(IpAddr::from([10, 0, 0, n]))
}

fn is_displaced(silent: &Arc<Silent>) -> bool {
    use std::pin::pin;
    use std::task::{Context, Waker};
    let mut cx = Context::from_waker(Waker::noop());
    pin!(silent.displaced.notified()).poll(&mut cx).is_ready()
}

#[test]
fn a_source_over_its_share_is_turned_away() {
    let mut state = State::default();
    for _ in 0..6 {
        state.admit(source(1), &BOUNDS).expect("a place");
    }
    let turned = state.admit(source(1), &BOUNDS).map(|_| ());
    assert_eq!(turned, Err(Turned::SourceSilent));
    state.admit(source(2), &BOUNDS).expect("another source");

    let mut state = State::default();
    for _ in 0..50 {
        let silent = state.admit(source(1), &BOUNDS).expect("a place");
        state.speak(source(1), silent.ticket);
    }
    let turned = state.admit(source(1), &BOUNDS).map(|_| ());
    assert_eq!(turned, Err(Turned::SourceFull));
    state.leave(source(1));
    state.admit(source(1), &BOUNDS).expect("one has left");
}

#[test]
fn the_newcomer_takes_the_oldest_place_of_the_source_with_most() {
    let mut state = State::default();
    let lone = state.admit(source(9), &BOUNDS).expect("a place");
    let flood: Vec<_> = (0..6)
        .map(|_| state.admit(source(1), &BOUNDS).expect("a place"))
        .collect();
    let seventh = state.admit(source(2), &BOUNDS).expect("the last place");
    assert_eq!(state.silent, 8);
    for n in 3..6 {
        state.admit(source(n), &BOUNDS).expect("a newcomer's place");
        assert_eq!(state.silent, 8);
    }
    let displaced: Vec<bool> = flood.iter().map(is_displaced).collect();
    assert_eq!(displaced, [true, true, true, false, false, false]);
    assert!(!is_displaced(&lone) && !is_displaced(&seventh));
    // A displaced connection that ends gives back its connection, once.
    state.speak(source(1), flood[0].ticket);
    state.leave(source(1));
    assert_eq!((state.silent, state.open), (8, 10));
}

#[test]
fn a_flood_of_many_sources_displaces_itself() {
    let mut state = State::default();
    let first = state.admit(source(200), &BOUNDS).expect("a place");
    for n in 0..8 {
        state.admit(source(n), &BOUNDS).expect("a place");
    }
    assert!(is_displaced(&first), "the oldest of equals");
    assert_eq!(state.silent, 8);
}

#[test]
fn sessions_are_never_displaced() {
    let bounds = Bounds {
        connections: 4,
        ..BOUNDS
    };
    let mut state = State::default();
    for n in 0..2 {
        let silent = state.admit(source(n), &bounds).expect("a place");
        state.speak(source(n), silent.ticket);
    }
    let flood = [0, 1].map(|_| state.admit(source(7), &bounds).expect("a place"));
    state
        .admit(source(8), &bounds)
        .expect("in place of a silent one");
    assert!(is_displaced(&flood[0]) && !is_displaced(&flood[1]));
    let turned = state.admit(source(9), &bounds).map(|_| ());
    assert_eq!(turned, Err(Turned::Full), "nobody has two silent ones");
}

#[test]
fn open_files_bound_what_is_not_set() {
    let limits = Limits::default();
    assert_eq!(Bounds::new(&limits, 20_000).connections, 20_000 - RESERVE);
    assert_eq!(Bounds::new(&limits, 256).connections, 192);
    let limits = Limits {
        connections: 7,
        ..limits
    };
    let bounds = Bounds::new(&limits, 256);
    assert_eq!((bounds.connections, bounds.per_source), (7, 7));
}

proptest! {
    /// Whatever comes and goes: counts stay within bounds and end at nothing.
    #[test]
    fn every_place_is_given_back(steps in proptest::collection::vec((0u8..4, 0u8..12), 1..400)) {
        let bounds = Bounds { connections: 20, per_source: 9, silent: 8, silent_per_source: 4 };
        let mut state = State::default();
        let mut live: Vec<(Source, Option<u64>)> = Vec::new();
        for (act, n) in steps {
            let index = usize::from(n);
            match act {
                0 | 1 => {
                    if let Ok(silent) = state.admit(source(n), &bounds) {
                        live.push((source(n), Some(silent.ticket)));
                    }
                }
                2 if index < live.len() => {
                    if let Some(ticket) = live[index].1.take() {
                        state.speak(live[index].0, ticket);
                    }
                }
                3 if index < live.len() => {
                    let (source, ticket) = live.swap_remove(index);
                    if let Some(ticket) = ticket {
                        state.speak(source, ticket);
                    }
                    state.leave(source);
                }
                _ => {}
            }
            prop_assert!(state.silent <= bounds.silent);
            let ranked: usize = state.ranking.iter().map(|(count, _, _)| count).sum();
            prop_assert_eq!(ranked, state.silent);
            prop_assert_eq!(state.open, live.len());
        }
        for (source, ticket) in live {
            if let Some(ticket) = ticket {
                state.speak(source, ticket);
            }
            state.leave(source);
        }
        prop_assert_eq!((state.open, state.silent), (0, 0));
        prop_assert!(state.by_source.is_empty() && state.silent_by_source.is_empty());
        prop_assert!(state.ranking.is_empty());
    }
}

#[test]
fn who_falls_silent_again_counts_again() {
    let mut state = State::default();
    let first = state.admit(source(1), &BOUNDS).expect("a place");
    state.speak(source(1), first.ticket);
    assert_eq!((state.open, state.silent), (1, 0));
    let again = state.fall_silent(source(1), &BOUNDS).expect("a place");
    assert_eq!(
        (state.open, state.silent),
        (1, 1),
        "it is no other connection"
    );
    state.speak(source(1), again.ticket);
    for _ in 0..6 {
        state.admit(source(1), &BOUNDS).expect("a place");
    }
    let full = state.fall_silent(source(1), &BOUNDS).map(|_| ());
    assert_eq!(full, Err(Turned::SourceSilent));
}

#[test]
fn by_default_no_source_takes_all_places() {
    let bounds = Bounds::new(&Limits::default(), 4096);
    assert_eq!((bounds.connections, bounds.per_source), (3584, 3136));
    let storm = Bounds::new(&Limits::default(), 20_000);
    assert!(storm.per_source > 16_000, "a fleet behind one address");
}
