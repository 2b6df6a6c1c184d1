//! The datastreams that a device came up with itself, as far as its session has
//! asked for them.
//!
//! The core decides and the registry remembers; this saves a device that goes
//! on sending the same names from being looked up at each message. A session
//! that never sends a new name keeps nothing.

use firstwake::{DatastreamId, DeviceLogin, Named, NoDatastream, Provisioner};

/// Names kept for one session; those beyond it are asked for each time.
const KEPT: usize = 128;

/// Names that this session was allowed.
#[derive(Debug, Default)]
pub(super) struct Streams(Option<Box<Names>>);

#[derive(Debug, Default)]
struct Names(Vec<DatastreamId>);

impl Streams {
    /// Whether the device may send this datastream.
    pub(super) async fn permit(
        &mut self,
        datastream: DatastreamId,
        login: &DeviceLogin,
        provisioner: &Provisioner,
    ) -> Result<(), NoDatastream> {
        let known = self.0.as_ref();
        if known.is_some_and(|names| names.0.contains(&datastream)) {
            return Ok(());
        }
        match provisioner.permit_datastream(login, &datastream).await? {
            Named::ByProduct => {}
            Named::ByDevice => {
                let names = &mut self.0.get_or_insert_default().0;
                if names.len() < KEPT {
                    names.push(datastream);
                }
            }
        }
        Ok(())
    }
}
