//! The data directory: who may use it now, and what lies where in it.
//!
//! ```text
//! DIR/              mode 0700
//!   lock            held by whoever has the registry open; names its process
//!   registry/       the embedded store (`sealed-by` in it tells its key), or
//!   registry.json   where the database is that the registry lies in
//!   registry.used   once there was a registry: no other is made in its place
//!   sealing.key     mode 0600; opens the product secrets; backups leave it out
//!   sealing.key.next  the one that is to replace it, while that is done
//!   control.sock    how commands reach a running server
//!   first-operator  mode 0600; the credentials made on the first run
//! ```

mod sealing;

use std::fs::{self, DirBuilder, File, OpenOptions, TryLockError};
use std::io::{self, Read, Seek, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use anyhow::{Context, Result, anyhow, bail};
use firstwake::registry::backup::Inventory;
use firstwake::registry::check::{Progress, Repair, Terms, Verdict};
use firstwake::registry::{Embedded, Registry};
use firstwake::{FeedId, NewOperator, OperatorName, ProductId, Provisioner, Role, Timestamp};
use zeroize::Zeroizing;

use self::sealing::Keys;
use crate::control::Unreachable;
use crate::database::{Company, Database, Known};
use crate::edge::OsEntropy;

/// The file that says where the database is.
const DATABASE: &str = "registry.json";

/// A data directory that exists.
#[derive(Clone, Debug)]
pub(crate) struct Home(PathBuf);

/// The right to open the registry, for as long as it is held.
#[derive(Debug)]
pub(crate) struct Lock {
    home: Home,
    _file: File,
}

/// Somebody else holds the lock.
#[derive(Debug)]
pub(crate) struct InUse {
    /// What the lock file says: a process id.
    pub(crate) by: String,
}

/// What the first run made.
pub(crate) struct FirstOperator {
    pub(crate) name: OperatorName,
    pub(crate) password: Zeroizing<String>,
    pub(crate) file: PathBuf,
}

impl Home {
    /// Where data lies unless said otherwise: `$XDG_DATA_HOME/firstwake`, or
    /// `~/.local/share/firstwake`.
    pub(crate) fn default_path() -> Result<PathBuf> {
        let of = |variable: &str| std::env::var_os(variable).filter(|value| !value.is_empty());
        let data = of("XDG_DATA_HOME").map(PathBuf::from);
        let data = data.or_else(|| of("HOME").map(|home| Path::new(&home).join(".local/share")));
        let data = data.context("neither HOME nor XDG_DATA_HOME is set: name a --data-dir")?;
        Ok(data.join("firstwake"))
    }

    /// Makes the directory if it is not there, for its owner alone.
    pub(crate) fn prepare(path: &Path) -> Result<Self> {
        DirBuilder::new()
            .recursive(true)
            .mode(0o700)
            .create(path)
            .with_context(|| format!("the data directory {} cannot be made", path.display()))?;
        let path = fs::canonicalize(path)
            .with_context(|| format!("the data directory {} cannot be read", path.display()))?;
        let home = Self(path);
        home.keep_others_out()?;
        Ok(home)
    }

    /// A directory that somebody else made may be open to others. It is closed
    /// to them if it is ours to close: empty, or a data directory already.
    fn keep_others_out(&self) -> Result<()> {
        let path = &self.0;
        let mode = fs::metadata(path)?.permissions().mode();
        if mode & 0o077 == 0 {
            return Ok(());
        }
        let ours = path.join("lock").exists() || fs::read_dir(path)?.next().is_none();
        if !ours {
            bail!(
                "{} holds something else and others can enter it: name an empty directory",
                path.display()
            );
        }
        fs::set_permissions(path, fs::Permissions::from_mode(0o700))
            .with_context(|| format!("{} cannot be closed to others", path.display()))
    }

    pub(crate) fn path(&self) -> &Path {
        &self.0
    }

    /// Takes the lock, or says who has it.
    pub(crate) fn try_lock(&self) -> Result<Result<Lock, InUse>> {
        let path = self.0.join("lock");
        let mut file = private()
            .read(true)
            .create(true)
            .truncate(false)
            .open(&path)
            .with_context(|| format!("{} cannot be opened", path.display()))?;
        match file.try_lock() {
            Ok(()) => {
                file.set_len(0)?;
                write!(file, "{}", std::process::id())?;
                Ok(Ok(Lock {
                    home: self.clone(),
                    _file: file,
                }))
            }
            Err(TryLockError::WouldBlock) => {
                let mut by = String::new();
                file.rewind()?;
                file.read_to_string(&mut by)?;
                Ok(Err(InUse { by }))
            }
            Err(TryLockError::Error(error)) => {
                Err(anyhow!(error).context(format!("{} cannot be locked", path.display())))
            }
        }
    }

    /// Sees to it that the registry lies where it is said to, from now on.
    pub(crate) fn settle(&self, database: &Database) -> Result<()> {
        let told = self.0.display();
        if self.registry().exists() {
            bail!(
                "the data directory {told} holds a registry of its own: name another --data-dir to \
                 use the database, or no database to use this one"
            );
        }
        if self.database()?.as_ref() == Some(database) {
            return Ok(());
        }
        match fs::remove_file(self.used()) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error.into()),
            _ => {}
        }
        let (path, fresh) = (self.0.join(DATABASE), self.0.join("registry.json.new"));
        drop(fs::remove_file(&fresh));
        write_private(&fresh, &serde_json::to_string_pretty(database)?)?;
        fs::rename(&fresh, &path).with_context(|| format!("{} cannot be made", path.display()))
    }

    /// The database that the registry lies in, unless it lies here.
    fn database(&self) -> Result<Option<Database>> {
        let path = self.0.join(DATABASE);
        match fs::read(&path) {
            Ok(text) => serde_json::from_slice(&text)
                .map(Some)
                .with_context(|| format!("{} is not understood", path.display())),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(anyhow!(error).context(format!("{} cannot be read", path.display()))),
        }
    }

    /// Stands here once a registry was opened in the database.
    fn used(&self) -> PathBuf {
        self.0.join("registry.used")
    }

    fn registry(&self) -> PathBuf {
        self.0.join("registry")
    }

    fn first_operator(&self) -> PathBuf {
        self.0.join("first-operator")
    }
}

impl Lock {
    pub(crate) fn home(&self) -> &Home {
        &self.home
    }

    /// Opens the registry and what decides over it. On the first run, makes an
    /// operator with full rights and tells its password.
    pub(crate) async fn open(
        &self,
        company: Company,
        now: Timestamp,
    ) -> Result<(Provisioner, Option<FirstOperator>)> {
        let (registry, keys) = self.open_registry(company).await?;
        let provisioner = self.start(registry, keys).await?;
        let none = provisioner.registry().operators().await?.is_empty();
        let first = if none {
            Some(self.add_first_operator(&provisioner, now).await?)
        } else {
            None
        };
        Ok((provisioner, first))
    }

    /// Opens the registry, wherever it lies, with the keys for it: a store's
    /// files are not touched with wrong ones.
    async fn open_registry(&self, company: Company) -> Result<(Arc<dyn Registry>, Keys)> {
        if let Some(database) = self.home.database()? {
            let used = self.home.used();
            let known = match used.exists() {
                true => Known::Before,
                false => Known::Not,
            };
            let opened = database.open(company, known).await;
            let told = || format!("the registry at {}", database.told());
            let registry = opened.with_context(told)?;
            let fresh = registry.sealing_proof().await?.is_none();
            let keys = self.keys(fresh)?;
            if known == Known::Not {
                write_private(&used, database.told())?;
            }
            return Ok((Arc::new(registry), keys));
        }
        let path = self.home.registry();
        let keys = self.keys(!path.exists())?;
        Ok((Arc::new(Embedded::open(&path)?), keys))
    }

    /// Puts a backup into the place of the registry, where none is.
    pub(crate) fn restore(
        &self,
        backup: &Path,
        feeds_after: Option<FeedId>,
    ) -> Result<(Inventory, FeedId)> {
        if let Some(database) = self.home.database()? {
            bail!(
                "the registry lies in the database {}: restore that with its own programs (psql, \
                 pg_restore), or name a data directory without one",
                database.told()
            );
        }
        let place = self.home.registry();
        Ok(Embedded::restore(backup, &place, feeds_after)?)
    }

    /// Checks the registry, which nobody has open.
    pub(crate) async fn check(
        &self,
        repair: Repair,
        now: Timestamp,
        tell: &mut (dyn FnMut(Progress) + Send),
    ) -> Result<Verdict> {
        let sealing = self.known_key()?;
        let terms = Terms {
            sealing: Some(&sealing),
            now,
            repair,
        };
        if let Some(database) = self.home.database()? {
            let registry = database
                .open(Company::Nobody, Known::Before)
                .await
                .map_err(Unreachable::because)?;
            let checked = registry.check(terms, tell).await;
            return checked.map_err(|error| Unreachable::because(error).into());
        }
        let checked = Embedded::check(&self.home.registry(), terms, tell).await;
        checked.map_err(|error| Unreachable::because(error).into())
    }

    async fn add_first_operator(
        &self,
        provisioner: &Provisioner,
        now: Timestamp,
    ) -> Result<FirstOperator> {
        let name = OperatorName::parse("admin")?;
        let password = Zeroizing::new(ProductId::generate(&OsEntropy).to_string());
        let file = self.home.first_operator();
        let text = Zeroizing::new(format!("username {name}\npassword {}\n", password.as_str()));
        // One that is there belongs to a registry that is not.
        match fs::remove_file(&file) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error.into()),
            _ => write_private(&file, &text)?,
        }
        let new = NewOperator {
            name: name.clone(),
            password: password.clone(),
            role: Role::Admin,
            publish: Vec::new(),
            subscribe: Vec::new(),
        };
        provisioner.add_operator(new, now).await?;
        Ok(FirstOperator {
            name,
            password,
            file,
        })
    }
}

fn private() -> OpenOptions {
    let mut options = OpenOptions::new();
    options.write(true).mode(0o600);
    options
}

/// Writes a file that only its owner reads, and makes sure that it is on disk.
pub(crate) fn write_private(path: &Path, text: &str) -> Result<()> {
    let write = || {
        let mut file = private().create_new(true).open(path)?;
        file.write_all(text.as_bytes())?;
        file.sync_all()?;
        // The directory's entry, too. A bare name stands in this directory.
        let parent = path.parent().filter(|it| !it.as_os_str().is_empty());
        File::open(parent.unwrap_or(Path::new(".")))?.sync_all()
    };
    write().with_context(|| format!("{} cannot be written", path.display()))
}
