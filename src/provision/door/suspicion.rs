//! Signs that an identity is used by two: written down, and followed by what
//! the product says.

use std::net::IpAddr;

use super::decide::{self, BoardVerdict, Showing};
use super::tally::Folding;
use crate::cause::Cause;
use crate::clock::Timestamp;
use crate::clones::{CloneSignal, Evidence, OnClone, Takeover};
use crate::device::{Changed, Device, Standing};
use crate::event::EventKind;
use crate::hardware::{Compared, Facts};
use crate::identity::FeedId;
use crate::provision::{NotAdmitted, OpenProduct, Provisioner};
use crate::refusal::Refusal;
use crate::registry::{Commit, Hint, RegistryError, Write};

impl Provisioner {
    /// Takes in that a new session of a device ended an older one that was
    /// still open, and raises an alarm if two take the identity from each
    /// other.
    pub async fn note_takeover(
        &self,
        feed: FeedId,
        takeover: &Takeover,
        now: Timestamp,
    ) -> Result<(), NotAdmitted> {
        self.registry.tell(Hint::Takeover {
            feed,
            takeover: takeover.clone(),
        });
        let Some((signal, evidence)) = self.rivals.judge(feed, takeover, now) else {
            return Ok(());
        };
        let (device, product) = self.load(feed).await?;
        self.suspect(&device, &product, signal, evidence, now)
            .await?;
        Ok(())
    }

    /// Takes in a takeover that another server has judged: the next one may
    /// happen here.
    pub fn learn_of_takeover(&self, feed: FeedId, takeover: &Takeover, now: Timestamp) {
        self.rivals.judge(feed, takeover, now);
    }

    /// Writes down a sign, one a minute for each device and kind; where the
    /// product says so the device is put aside, and why it is out is returned.
    pub(in crate::provision) async fn suspect(
        &self,
        device: &Device,
        product: &OpenProduct,
        signal: CloneSignal,
        evidence: Evidence,
        now: Timestamp,
    ) -> Result<Option<Refusal>, RegistryError> {
        let sign = sign_of(signal, &evidence);
        self.note_problem(
            device.feed,
            evidence.source,
            Cause::CloneSuspected,
            Some(&sign),
            now,
        );
        if product.record.on_clone == OnClone::Alert || device.standing != Standing::Good {
            if self
                .folded
                .due(Folding::Clone(device.feed, signal), now)
                .is_some()
            {
                let kind = EventKind::CloneSuspected { signal, evidence };
                self.note(device.event(kind, now)).await;
            }
            return Ok(None);
        }
        let mut device = device.clone();
        loop {
            let feed = device.feed;
            let changed = Changed::nothing(device)
                .suspected(signal, evidence.clone(), now)
                .quarantined(now);
            let write = Write::Device(changed.device);
            if self.registry.commit(write, changed.events).await? == Commit::Done {
                return Ok(Some(Refusal::Quarantined));
            }
            device = match self.registry.device(feed).await? {
                Some(device) if device.standing == Standing::Good => device,
                // Somebody else has put it aside, or it is gone.
                other => return Ok(other.and_then(|device| device.put_aside())),
            };
        }
    }

    /// What is known of a device's board from now on, or why it is kept out for
    /// what it shows of it.
    pub(in crate::provision) async fn judge_board(
        &self,
        device: &Device,
        product: &OpenProduct,
        (shown, showing): (&Facts, Showing),
        source: IpAddr,
        now: Timestamp,
    ) -> Result<Compared, NotAdmitted> {
        let (refusal, compared) = match decide::board(device, &product.record, shown, showing) {
            BoardVerdict::Fits(compared) => return Ok(compared),
            BoardVerdict::Suspect(compared) => (None, compared),
            BoardVerdict::Mismatch(compared) => (Some(Refusal::HardwareMismatch), compared),
        };
        // A device that shows nothing, where nothing was enrolled, is nobody's copy.
        let aside = match compared.broken.is_empty() {
            true => None,
            false => {
                let signal = CloneSignal::HardwareMismatch;
                self.suspect_board(device, product, signal, &compared, source, now)
                    .await?
            }
        };
        if let Some(refusal) = refusal.or(aside) {
            self.refuse_proved(device, source, refusal, now).await;
            return Err(refusal.into());
        }
        // Let in, but it is not the board that was enrolled.
        Ok(Compared::unchanged(&device.hardware))
    }

    /// The same for a board that is not the one that was enrolled.
    async fn suspect_board(
        &self,
        device: &Device,
        product: &OpenProduct,
        signal: CloneSignal,
        compared: &Compared,
        source: IpAddr,
        now: Timestamp,
    ) -> Result<Option<Refusal>, RegistryError> {
        let evidence = Evidence {
            facts: compared.broken.clone(),
            ..Evidence::from_source(source)
        };
        self.suspect(device, product, signal, evidence, now).await
    }

    /// Whether a used code that was shown again came from another board than
    /// the one it was used on, as far as it says.
    pub(in crate::provision) async fn suspect_spent(
        &self,
        device: &Device,
        product: &OpenProduct,
        shown: &Facts,
        source: IpAddr,
        now: Timestamp,
    ) -> Result<(), RegistryError> {
        let compared = product.record.hardware.compare(&device.hardware, shown);
        if !shown.is_empty() && !compared.broken.is_empty() {
            let signal = CloneSignal::SpentCode;
            self.suspect_board(device, product, signal, &compared, source, now)
                .await?;
        }
        Ok(())
    }
}

/// The sign in words.
fn sign_of(signal: CloneSignal, evidence: &Evidence) -> String {
    match (signal, evidence.other) {
        (CloneSignal::TwoAddresses | CloneSignal::TwoClientIds, Some(other)) => {
            format!("{} and {other} take it from each other", evidence.source)
        }
        (CloneSignal::TwoAddresses, None) => "two addresses take it from each other".to_owned(),
        (CloneSignal::TwoClientIds, None) => "two clients take it from each other".to_owned(),
        (CloneSignal::HardwareMismatch, _) => "a right proof came from another board".to_owned(),
        (CloneSignal::TokenReplayed, _) => "a token was shown that was used before".to_owned(),
        (CloneSignal::SpentCode, _) => "a used code was shown by another board".to_owned(),
    }
}
