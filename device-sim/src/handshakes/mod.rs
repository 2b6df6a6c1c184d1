//! TLS handshakes, as many as there can be, and nothing else.
//!
//! Each connection does its handshake, says close_notify and hears the server
//! out: so a server has finished its part, and the tickets for later sessions
//! have arrived, before the next connection begins. In a closed loop: a slow
//! server slows the load, and what a connection waits for its turn is in no
//! figure.

mod report;

use std::net::SocketAddr;
use std::num::NonZeroUsize;
use std::sync::Arc;
use std::time::{Duration, Instant};

use crate::closed_loop::{self, Turns};
use crate::line::Line;
use crate::open_files;
use crate::outcome::{Mishap, Outcome, Step};
use crate::plan::PlanError;
use crate::record::Timings;
use crate::report::Handshakes;
use crate::route::Route;
use crate::tls::{TlsClient, Transport};

pub use report::{HandshakesFindings, HandshakesReport, HandshakesSummary};

/// How many handshakes, and with whom.
#[derive(Debug)]
pub struct HandshakesPlan {
    /// Where the server listens.
    pub server: SocketAddr,
    /// What the connections speak.
    pub tls: TlsClient,
    /// How many handshakes.
    pub count: NonZeroUsize,
    /// How many connections are under way at any time.
    pub in_flight: NonZeroUsize,
    /// How long a single step may take.
    pub step_deadline: Duration,
}

/// Does the handshakes of `plan`, and tells what became of them.
///
/// However they fare, the result is a report; only a plan that cannot be begun
/// is an error.
pub async fn run(plan: HandshakesPlan) -> Result<HandshakesReport, PlanError> {
    open_files::reserve(plan.in_flight.get())?;
    let summary = HandshakesSummary::of(&plan);
    let route = Arc::new(Route::new(plan.server, Transport::Tls(plan.tls)));

    let begun = Instant::now();
    let slot = |turns| one_after_the_other(turns, route.clone(), plan.step_deadline);
    let hauls = closed_loop::run(plan.count.get(), plan.in_flight, slot).await;
    let elapsed = begun.elapsed();

    let sources = route.source_addresses();
    Ok(HandshakesReport::new(
        summary,
        &hauls.concat(),
        elapsed,
        sources,
    ))
}

/// What was seen of one connection.
#[derive(Clone)]
struct Attempt {
    outcome: Outcome,
    timings: Timings,
    handshakes: Handshakes,
}

async fn one_after_the_other(
    turns: Turns,
    route: Arc<Route>,
    step_deadline: Duration,
) -> Vec<Attempt> {
    let mut line = Line::new(&route, step_deadline);
    let mut attempts = Vec::new();
    while turns.take().is_some() {
        let mut attempt = Attempt {
            outcome: Outcome::Secured,
            timings: Timings::default(),
            handshakes: Handshakes::default(),
        };
        if let Err((step, mishap)) = shake_hands(&mut line, &mut attempt).await {
            attempt.outcome = mishap.at(step);
        }
        attempts.push(attempt);
    }
    attempts
}

async fn shake_hands(line: &mut Line<'_>, attempt: &mut Attempt) -> Result<(), (Step, Mishap)> {
    let opened = line.open().await.map_err(|why| (Step::Connect, why))?;
    attempt.timings.opened(&opened);
    attempt.handshakes.count(&opened.stream);
    let mut stream = opened.stream;
    line.begin_step();
    line.leave(&mut stream).await;
    let heard = line.hear_out(&mut stream).await;
    heard.map_err(|why| (Step::Close, why))
}
