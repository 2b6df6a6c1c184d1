//! No server is running: the command opens the registry itself, and nobody
//! else can for as long.

use anyhow::Result;
use firstwake::{Counts, Provisioner};

use super::Unreachable;
use crate::control::declined::Declined;
use crate::control::request::{Reply, Request};
use crate::control::steward::carry_out;
use crate::database::Company;
use crate::downlink::Dispatch;
use crate::edge::Clock;
use crate::home::{FirstOperator, Lock};
use crate::limits::Limits;

pub(crate) struct Own {
    provisioner: Provisioner,
    _lock: Lock,
}

impl Own {
    pub(super) async fn open(lock: Lock) -> Result<(Self, Option<FirstOperator>)> {
        let opened = lock.open(Company::Others, Clock::start().now()).await;
        let (provisioner, first) = opened.map_err(Unreachable)?;
        let own = Self {
            provisioner,
            _lock: lock,
        };
        Ok((own, first))
    }

    pub(super) async fn ask(&self, request: Request) -> Result<Reply, Declined> {
        let dispatch = Dispatch {
            provisioner: &self.provisioner,
            sessions: None,
            values: None,
            capacity: Limits::default().mailbox(),
            rates: Counts::default(),
            moment: Clock::start().moment(),
            jump: None,
        };
        carry_out(request, &dispatch).await
    }
}
