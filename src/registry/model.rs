//! Every store against the reference, over random steps.
//!
//! Steps are drawn as numbers, about so few names that they collide all the
//! time, and several at once: a store that writes in groups has to do to the
//! rows what the reference does one after the other. Each outcome has to be
//! the same, and so has everything that can be read.

mod picture;
mod steps;

use futures_util::future;
use proptest::prelude::*;
use proptest::test_runner::{Config, TestRunner};
use tokio::runtime::Builder;

use self::picture::Picture;
use self::steps::{Draw, World};
#[cfg(feature = "postgres")]
use super::postgres::{Postgres, tests::server::Database};
use super::{Embedded, Memory, Registry};

/// What one store has to go through: groups of steps, each written at once.
fn courses() -> impl Strategy<Value = Vec<Vec<Draw>>> {
    let group = prop::collection::vec(any::<[u8; 5]>().prop_map(Draw::new), 1..6);
    prop::collection::vec(group, 1..40)
}

/// Takes so many courses, each with stores of its own.
fn check<S: Stores>(cases: u32, begin: impl Fn() -> S) {
    let mut runner = TestRunner::new(Config {
        failure_persistence: None,
        max_shrink_time: 30_000,
        ..Config::with_cases(cases)
    });
    let ran = runner.run(&courses(), |course| {
        let runtime = Builder::new_current_thread().enable_all().build();
        let runtime = runtime.expect("a runtime");
        runtime.block_on(follow(begin(), course))
    });
    if let Err(failure) = ran {
        panic!("{failure}");
    }
}

/// Servers on one registry, one or several.
trait Stores {
    type Store: Registry;

    /// Opens all of them, after closing those that were open.
    async fn open(&mut self) -> Vec<Self::Store>;
}

/// Takes a course, and compares on the way.
async fn follow<S: Stores>(mut stores: S, course: Vec<Vec<Draw>>) -> Result<(), TestCaseError> {
    let reference = Memory::default();
    let mut world = World::default();
    let mut servers = stores.open().await;
    for (number, group) in course.into_iter().enumerate() {
        let mut requests = Vec::new();
        for draw in group {
            requests.push(world.request(&reference, draw).await);
        }
        let mut expected = Vec::new();
        for request in &requests {
            expected.push(request.clone().ask(&reference).await);
        }
        let server = &servers[number % servers.len()];
        let mut found = Vec::new();
        for together in requests.chunk_by(|one, other| one.keeps_its_place(other)) {
            let asked = together.iter().map(|request| request.clone().ask(server));
            found.extend(future::join_all(asked).await);
        }
        for (request, (expected, found)) in requests.iter().zip(expected.iter().zip(&found)) {
            prop_assert_eq!(expected, found, "{:?}", request);
        }
        // Whoever else has it open then seals with another key.
        let resealed = requests.iter().zip(&found);
        let resealed = resealed
            .into_iter()
            .any(|(request, found)| request.seals(found));
        if resealed || number % 8 == 7 {
            drop(servers);
            servers = stores.open().await;
        }
    }
    let expected = Picture::of(&reference, &world).await;
    for server in &servers {
        prop_assert_eq!(&expected, &Picture::of(server, &world).await);
    }
    drop(servers);
    for server in stores.open().await {
        prop_assert_eq!(&expected, &Picture::of(&server, &world).await);
    }
    Ok(())
}

/// A directory for each course.
struct InDirectory(tempfile::TempDir);

impl Stores for InDirectory {
    type Store = Embedded;

    async fn open(&mut self) -> Vec<Embedded> {
        vec![Embedded::open(self.0.path()).expect("opens")]
    }
}

#[test]
fn the_embedded_store_does_what_the_reference_does() {
    check(32, || {
        InDirectory(tempfile::tempdir().expect("a directory"))
    });
}

/// A database for each course, and two servers on it that take turns.
#[cfg(feature = "postgres")]
struct OnDatabase(Option<Database>);

#[cfg(feature = "postgres")]
impl Stores for OnDatabase {
    type Store = Postgres;

    async fn open(&mut self) -> Vec<Postgres> {
        if self.0.is_none() {
            self.0 = Database::create().await;
        }
        let database = self.0.as_ref().expect("there is a server");
        vec![database.open().await, database.open().await]
    }
}

#[cfg(feature = "postgres")]
#[test]
fn servers_on_postgres_do_what_the_reference_does() {
    if Database::server().is_some() {
        check(32, || OnDatabase(None));
    }
}

#[test]
fn every_write_is_drawn() {
    steps::every_write_is_drawn();
}
