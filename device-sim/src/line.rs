//! What one slot keeps from one device's connection to the next: buffers and a
//! timer, and nothing that one device could learn about another.

use std::time::Duration;

use mqtt_protocol_core::mqtt::connection::RawPacket;

use crate::outcome::{Mishap, NoTls};
use crate::patience::Patience;
use crate::route::{Opened, Route};
use crate::stream::Stream;
use crate::wire::{self, Buffers};

/// A line to the broker, for one device at a time.
pub(crate) struct Line<'a> {
    route: &'a Route,
    pub(crate) buffers: Buffers,
    patience: Patience,
}

impl<'a> Line<'a> {
    pub(crate) fn new(route: &'a Route, step_deadline: Duration) -> Self {
        Self {
            route,
            buffers: Buffers::new(),
            patience: Patience::new(step_deadline),
        }
    }

    /// Begins a step: the deadline counts from here.
    pub(crate) fn begin_step(&mut self) {
        self.patience.renew();
    }

    /// Opens a connection, which is a step of its own.
    pub(crate) async fn open(&mut self) -> Result<Opened, Mishap> {
        self.buffers.clear();
        self.patience.renew();
        let called = self.patience.bound(self.route.call()).await?;
        // The same step, but another cause if it takes too long.
        let secured = self.patience.bound(self.route.secure(called)).await;
        secured.map_err(|mishap| match mishap {
            Mishap::TimedOut => Mishap::NoTls(NoTls::TimedOut),
            other => other,
        })
    }

    /// Sends what there is to say, then waits for a packet.
    pub(crate) async fn exchange(&mut self, stream: &mut Stream) -> Result<RawPacket, Mishap> {
        let buffers = &mut self.buffers;
        self.patience
            .bound(async {
                wire::send(stream, buffers).await?;
                wire::next_packet(stream, buffers).await
            })
            .await
    }

    /// Sends what there is to say, then waits until `reply` makes something of
    /// what comes.
    pub(crate) async fn ask<T>(
        &mut self,
        stream: &mut Stream,
        reply: impl Fn(&[u8]) -> Result<Option<T>, Mishap>,
    ) -> Result<T, Mishap> {
        let buffers = &mut self.buffers;
        self.patience
            .bound(async {
                wire::send(stream, buffers).await?;
                wire::whole_reply(stream, buffers, reply).await
            })
            .await
    }

    /// Sends the last words before the stream is dropped. The device has all
    /// it came for, so that they do not arrive is no mishap of its own.
    pub(crate) async fn leave(&mut self, stream: &mut Stream) {
        let buffers = &mut self.buffers;
        let last_words = self.patience.bound(async {
            wire::send(stream, buffers).await?;
            stream.close_tls().await.map_err(|_| Mishap::Closed)
        });
        let _ = last_words.await;
    }

    /// Hears the broker out after [`Self::leave`], until it closes too.
    pub(crate) async fn hear_out(&mut self, stream: &mut Stream) -> Result<(), Mishap> {
        let closed = async {
            wire::until_closed(stream).await;
            Ok(())
        };
        self.patience.bound(closed).await
    }
}
