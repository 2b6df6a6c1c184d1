//! One batch in one transaction.
//!
//! Rows are locked as the batch asks for them, in the order of tables and keys,
//! and last of all the counts and the counters, which every other server waits
//! for: until then several may work beside each other, and from then on it is
//! one round trip to the commit. So events are numbered without gaps and in the
//! order of their commits. A row that was not there cannot be locked; if
//! another server has written it meanwhile, the insert fails, nothing has
//! happened, and the batch is staged anew.

use std::collections::BTreeSet;

use futures_util::future;
use tokio_postgres::Error;

use super::super::RegistryError;
use super::super::rows::{COUNTERS_KEY, Counters, SEALING_PROOF_KEY, Table};
use super::super::staging::{Changes, Staging};
use super::known::{Known, Wanted, decode_counters};
use super::lease::{Failure, Lease, said, unavailable, within};
use super::request::{Request, Staged};
use super::tables::{self, Select, TABLES, TableChanges};
use super::{Presence, Shared};

/// What a batch came to. It is committed.
#[derive(Debug)]
pub(super) struct Written {
    /// What the sealing key is known again by, if that was written.
    pub(super) proof: Option<Vec<u8>>,
    /// The number of its newest event, if it has any.
    pub(super) newest_event: Option<u64>,
    /// What became of each request.
    pub(super) outcomes: Vec<Staged>,
}

/// Writes a group of requests, all that they change or nothing.
pub(super) async fn write(shared: &Shared, group: &[Request]) -> Result<Written, Failure> {
    let lease = Lease::take(&shared.pool).await?;
    let mut known = Known::default();
    // Others may move the counters on until they are locked. Until then they
    // are a good guess: what a batch asks for hardly ever depends on them.
    let guess = begin(&lease, shared, &mut known, group).await?;
    let (staged, mut hot) = settle(&lease, &mut known, guess, group).await?;
    let is_still = staged.changes.rows.is_empty() || staged.changes.counters == guess;
    if hot.is_empty() && is_still {
        // Nobody's numbers move: nobody has to wait for this batch.
        return commit(lease, staged.sort(&known, None)).await;
    }
    hot.insert(COUNTERS_KEY.to_vec());
    lock_hot(&lease, &mut known, hot).await?;
    let counters = known.counters()?;
    loop {
        let (staged, hot) = settle(&lease, &mut known, counters, group).await?;
        if hot.is_empty() {
            return commit(lease, staged.sort(&known, Some(counters))).await;
        }
        // The guess was wrong, and led to another product's devices.
        lock_hot(&lease, &mut known, hot).await?;
    }
}

/// A batch as it would be written over the rows that are known.
struct Stage {
    outcomes: Vec<Staged>,
    changes: Changes,
}

/// A batch as it is written.
struct Sorted {
    outcomes: Vec<Staged>,
    tables: [TableChanges; 5],
    /// The number of its newest event, if it has any.
    newest_event: Option<u64>,
    proof: Option<Vec<u8>>,
}

impl Stage {
    /// `before` are the counters, if they were locked.
    fn sort(mut self, known: &Known, before: Option<Counters>) -> Sorted {
        let after = self.changes.counters;
        if before.is_none_or(|before| before == after) {
            let unchanged = (Table::Meta, COUNTERS_KEY.to_vec());
            self.changes.rows.remove(&unchanged);
        }
        let proof = (Table::Meta, SEALING_PROOF_KEY.to_vec());
        let proof = self.changes.rows.get(&proof).cloned().flatten();
        let is_newer = before.is_some_and(|before| before.newest_event < after.newest_event);
        Sorted {
            outcomes: self.outcomes,
            tables: known.sort(self.changes),
            newest_event: is_newer.then_some(after.newest_event),
            proof,
        }
    }
}

/// Begins a transaction, and reads the counters as they are now, and what the
/// group asks for first. Durable means on disk, whatever the database's own
/// setting is; it may promise more. Whoever has the registry for itself keeps
/// the others out here.
async fn begin(
    lease: &Lease,
    shared: &Shared,
    known: &mut Known,
    group: &[Request],
) -> Result<Counters, Failure> {
    let among_others = match shared.presence {
        // At once or never: a command may take longer than anybody would wait.
        Presence::AmongOthers => "LOCK TABLE firstwake.presence IN ROW SHARE MODE NOWAIT",
        Presence::Alone => "",
    };
    let sql = format!(
        "BEGIN ISOLATION LEVEL READ COMMITTED READ WRITE;
         SELECT set_config('synchronous_commit', 'on', true)
             WHERE current_setting('synchronous_commit') <> 'remote_apply';
         {among_others}"
    );
    let keys = [COUNTERS_KEY, SEALING_PROOF_KEY].map(<[u8]>::to_vec);
    let counters = Select::Rows(Table::Meta, keys.to_vec());
    // Waited for, so that the transaction has begun when anything is locked.
    let statement = ask(counters.prepare(lease)).await?;
    // Nothing comes of this but what it asked for.
    drop(stage(known, Counters::default(), group));
    let wanted = known.take_wanted();
    let begun = future::try_join(lease.batch_execute(&sql), counters.run(lease, &statement));
    let (((), found), ()) = future::try_join(ask(begun), fetch(lease, known, wanted)).await?;
    let row = |key: &[u8]| found.iter().find(|(of, _)| of == key).map(|(_, row)| row);
    shared.check_proof(row(SEALING_PROOF_KEY))?;
    Ok(decode_counters(row(COUNTERS_KEY))?)
}

/// Stages the group until everything that it asks for is known, but for the
/// counts, which it tells the keys of.
async fn settle(
    lease: &Lease,
    known: &mut Known,
    counters: Counters,
    group: &[Request],
) -> Result<(Stage, BTreeSet<Vec<u8>>), Failure> {
    loop {
        let (outcomes, changes) = stage(known, counters, group);
        if let Ok(changes) = &changes {
            known.want_changed(counters, changes);
        }
        let wanted = known.take_wanted();
        if wanted.is_settled() {
            let changes = changes?;
            return Ok((Stage { outcomes, changes }, wanted.hot));
        }
        fetch(lease, known, wanted).await?;
    }
}

fn stage(
    known: &Known,
    counters: Counters,
    group: &[Request],
) -> (Vec<Staged>, Result<Changes, RegistryError>) {
    let mut staging = Staging::new(known, counters);
    let outcomes = group.iter().map(|request| request.stage(&mut staging));
    let outcomes = outcomes.collect();
    (outcomes, staging.finish())
}

/// Reads and locks what is wanted, one request behind the other without waiting
/// between them.
async fn fetch(lease: &Lease, known: &mut Known, wanted: Wanted) -> Result<(), Failure> {
    let Wanted { keys, prefixes, .. } = wanted;
    let rows = TABLES.iter().map(|table| {
        let keys: Vec<&[u8]> = keys[*table as usize].iter().map(Vec::as_slice).collect();
        async move {
            match keys.is_empty() {
                true => Ok(Vec::new()),
                false => tables::lock(lease, *table, &keys).await,
            }
        }
    });
    let under = TABLES.iter().flat_map(|table| {
        let prefixes = prefixes[*table as usize].iter();
        prefixes.map(move |prefix| async move {
            let found = tables::lock_under(lease, *table, prefix).await?;
            Ok((*table, prefix.clone(), found))
        })
    });
    let both = future::try_join(future::try_join_all(rows), future::try_join_all(under));
    let (rows, under) = ask(both).await?;
    for (table, found) in TABLES.into_iter().zip(rows) {
        known.note_rows(table, keys[table as usize].iter(), found);
    }
    for (table, prefix, found) in under {
        known.note_under(table, prefix, found);
    }
    Ok(())
}

/// Locks counts and, last, the counters, in the order of their keys.
async fn lock_hot(
    lease: &Lease,
    known: &mut Known,
    keys: BTreeSet<Vec<u8>>,
) -> Result<(), Failure> {
    let slices: Vec<&[u8]> = keys.iter().map(Vec::as_slice).collect();
    let found = ask(tables::lock(lease, Table::Meta, &slices)).await?;
    known.note_rows(Table::Meta, keys.iter(), found);
    Ok(())
}

/// Writes all of it and commits, without waiting in between.
async fn commit(lease: Lease, batch: Sorted) -> Result<Written, Failure> {
    let mut ready = Vec::new();
    for (table, changes) in TABLES.into_iter().zip(&batch.tables) {
        ready.extend(ask(changes.prepare(&lease, table)).await?);
    }
    let written = tables::run_all(&lease, &ready);
    let sent = within(future::join(written, lease.batch_execute("COMMIT"))).await;
    let (written, committed) = sent.map_err(|_| unknown("the database does not answer"))?;
    if let Some(error) = written.into_iter().find_map(Result::err) {
        return Err(match error.as_db_error() {
            // The server said so in place of writing: the commit behind it
            // rolled back.
            Some(_) => Failure::of(&error),
            None => unknown(&said(&error)),
        });
    }
    committed.map_err(|error| unknown(&said(&error)))?;
    drop(ready);
    lease.give_back();
    Ok(Written {
        newest_event: batch.newest_event,
        proof: batch.proof,
        outcomes: batch.outcomes,
    })
}

/// The commit was sent and nothing was heard of it: to write again might be to
/// write twice.
fn unknown(reason: &str) -> Failure {
    let reason = format!("it is not known whether this was written: {reason}");
    Failure::Refused(unavailable(&reason))
}

/// Waits for an answer to something that commits nothing.
async fn ask<T>(answer: impl Future<Output = Result<T, Error>>) -> Result<T, Failure> {
    within(answer).await?.map_err(|error| Failure::of(&error))
}
