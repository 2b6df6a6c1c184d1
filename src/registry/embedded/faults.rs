//! What a disk may do to the store, for tests to switch on. Outside of tests
//! nothing can, and this is nothing but the calls themselves.

#[cfg(not(test))]
pub(super) use self::never::Faults;
#[cfg(test)]
pub(super) use self::switched::{Faults, WriteFault};

#[cfg(not(test))]
mod never {
    use super::super::super::RegistryError;
    use super::super::OpenError;

    #[derive(Debug, Default)]
    pub(in super::super) struct Faults(());

    impl Faults {
        pub(in super::super) fn write<T>(
            &self,
            write: impl FnOnce() -> Result<T, RegistryError>,
        ) -> Result<T, RegistryError> {
            write()
        }

        pub(in super::super) fn read(&self) -> Result<(), RegistryError> {
            Ok(())
        }

        pub(in super::super) fn open<T>(
            &self,
            open: impl FnOnce() -> Result<T, OpenError>,
        ) -> Result<T, OpenError> {
            open()
        }
    }
}

#[cfg(test)]
mod switched {
    use std::path::PathBuf;
    use std::sync::Mutex;

    use super::super::super::RegistryError;
    use super::super::OpenError;

    /// What goes wrong, and when.
    #[derive(Debug, Default)]
    pub(in super::super) struct Faults(Mutex<Plan>);

    #[derive(Debug, Default)]
    struct Plan {
        writes_until: Option<u64>,
        fault: Option<WriteFault>,
        reads_fail: bool,
        opens_fail: bool,
    }

    /// How a write fails.
    #[derive(Clone, Copy, Debug, PartialEq, Eq)]
    pub(in super::super) enum WriteFault {
        /// Nothing of it reaches the disk: it is full.
        Full,
        /// The sync fails, and it is on the disk all the same.
        Unsynced,
    }

    fn unavailable(what: &str) -> RegistryError {
        RegistryError::Unavailable(what.to_owned())
    }

    impl Faults {
        /// Every write fails like this once so many have not.
        pub(in super::super) fn fail_writes(&self, after: u64, fault: WriteFault) {
            let mut plan = self.0.lock().expect("no panic");
            (plan.writes_until, plan.fault) = (Some(after), Some(fault));
        }

        pub(in super::super) fn fail_reads(&self) {
            self.0.lock().expect("no panic").reads_fail = true;
        }

        pub(in super::super) fn fail_opens(&self) {
            self.0.lock().expect("no panic").opens_fail = true;
        }

        /// The cause has gone away.
        pub(in super::super) fn end(&self) {
            *self.0.lock().expect("no panic") = Plan::default();
        }

        pub(in super::super) fn write<T>(
            &self,
            write: impl FnOnce() -> Result<T, RegistryError>,
        ) -> Result<T, RegistryError> {
            let fault = {
                let mut plan = self.0.lock().expect("no panic");
                match plan.writes_until.as_mut() {
                    Some(0) => plan.fault,
                    Some(left) => {
                        *left -= 1;
                        None
                    }
                    None => None,
                }
            };
            match fault {
                None => write(),
                Some(WriteFault::Full) => Err(unavailable("no space left on device")),
                Some(WriteFault::Unsynced) => {
                    write()?;
                    Err(unavailable("input/output error"))
                }
            }
        }

        pub(in super::super) fn read(&self) -> Result<(), RegistryError> {
            match self.0.lock().expect("no panic").reads_fail {
                true => Err(unavailable("input/output error")),
                false => Ok(()),
            }
        }

        pub(in super::super) fn open<T>(
            &self,
            open: impl FnOnce() -> Result<T, OpenError>,
        ) -> Result<T, OpenError> {
            match self.0.lock().expect("no panic").opens_fail {
                true => Err(OpenError::Store {
                    path: PathBuf::from("registry"),
                    reason: "input/output error".to_owned(),
                }),
                false => open(),
            }
        }
    }
}
