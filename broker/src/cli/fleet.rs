//! `firstwake fleet`: how many devices are in which state.

use anyhow::{Result, bail};
use firstwake::ProductId;

use super::form::{Form, fields};
use crate::control::{CensusView, Control, Reply, Request};

/// How many devices are in which state, and what is happening now
#[derive(clap::Args)]
pub(super) struct Args {
    /// The states of this product's devices only
    #[arg(long, value_name = "PRODUCT_ID")]
    product: Option<ProductId>,
}

impl Args {
    pub(super) async fn run(self, control: &mut Control, form: Form) -> Result<()> {
        let request = match self.product {
            Some(product) => Request::Census { product },
            None => Request::Fleet,
        };
        match control.ask(request).await? {
            Reply::Census(census) => form.tell(&census, &fields(&states(&census))),
            Reply::Fleet(fleet) => {
                let mut words = states(&fleet.devices);
                let count = |number: u64| number.to_string();
                words.extend([
                    ("activations/s", count(fleet.activations_per_second)),
                    ("confirmations/s", count(fleet.confirmations_per_second)),
                    ("refusals/s", count(fleet.refusals_per_second)),
                    ("activating now", count(fleet.connected.activations)),
                    ("devices connected", count(fleet.connected.devices)),
                    ("operators connected", count(fleet.connected.operators)),
                ]);
                form.tell(&fleet, &fields(&words))
            }
            _ => bail!("the server gave an answer to another question"),
        }
    }
}

fn states(census: &CensusView) -> Vec<(&'static str, String)> {
    let states = [
        ("registered", census.registered),
        ("issued", census.issued),
        ("active", census.active),
        ("suspended", census.suspended),
        ("quarantined", census.quarantined),
        ("revoked", census.revoked),
    ];
    states
        .map(|(state, count)| (state, count.to_string()))
        .into()
}
