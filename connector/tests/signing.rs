//! Devices that sign, against the core's own rules.

use std::sync::Arc;

use firstwake::hardware::{Fact, FactSet, HardwareMode};
use firstwake::licence::LicenceToken;
use firstwake::{Key, Keys, Lifecycle, ProofPolicy};
use firstwake_connector::{
    ActivateError, Activated, BurntIn, CredentialsFile, Handover, LoadError, Refusal,
    RequestSigner, Secret, Signing, Stored, activate, licence,
};

use crate::boards::Board;
use crate::fixture::{Fixture, HUNG, together};
use crate::server::{Server, serial};

pub(crate) struct World {
    pub(crate) fixture: Fixture,
    pub(crate) server: Arc<Server>,
    board: Board,
}

impl World {
    pub(crate) async fn new(proof: ProofPolicy, signing: Signing) -> Self {
        let mut fixture = Fixture::new().await;
        fixture.device.signing = signing;
        let server = Server::new(proof).await;
        let mut world = Self {
            fixture,
            server,
            board: Board::named("raspberry-pi-4b"),
        };
        world.fixture.device.machine = world.board.machine();
        world
    }

    /// The card goes into another board.
    fn moves_to(&mut self, board: &str) {
        self.board = Board::named(board);
        self.fixture.device.machine = self.board.machine();
    }

    pub(crate) async fn activate(&self) -> Result<Activated, ActivateError> {
        let code = self.server.code();
        self.activate_with(Some(&code)).await
    }

    async fn activate_with(
        &self,
        code: Option<&firstwake::ActivationCode>,
    ) -> Result<Activated, ActivateError> {
        self.serving(activate(&self.fixture.device, code, HUNG))
            .await
    }

    /// This, while the server serves.
    pub(crate) async fn serving<T>(&self, device: impl Future<Output = T>) -> T {
        let serving = self.server.serve(&self.fixture.broker);
        let both = async {
            tokio::select! {
                ended = device => ended,
                () = serving => unreachable!("it serves for ever"),
            }
        };
        together(both, async {}).await
    }

    fn stored(&self) -> Stored {
        let stored = self.fixture.device.credentials.load(&serial());
        stored.expect("readable").expect("stored")
    }
}

fn has_key_pair(stored: &Stored) -> bool {
    matches!(stored.credentials().secret(), Secret::KeyPair(_))
}

#[tokio::test]
async fn a_device_makes_a_key_pair_and_signs() {
    for proof in [ProofPolicy::Either, ProofPolicy::Signed] {
        let world = World::new(proof, Signing::WhereAllowed).await;
        world.activate().await.expect("activated");
        let stored = world.stored();
        assert!(has_key_pair(&stored));
        assert_eq!(stored.credentials().handover(), Handover::Confirmed);

        let device = world.server.device().await;
        assert_eq!(device.lifecycle(), Lifecycle::Active);
        let Secret::KeyPair(pair) = stored.credentials().secret() else {
            panic!("no key pair");
        };
        assert!(
            matches!(&device.keys, Keys::Confirmed { current: Key::Public(key), .. } if *key == pair.public()),
            "{:?}",
            device.keys
        );
        // The board was enrolled with the key.
        let facts = stored.facts(&world.board.machine());
        assert_eq!(facts.hashes(Fact::Mac).len(), 2);
        assert_eq!(device.hardware, facts);
    }
}

#[tokio::test]
async fn where_signatures_are_not_taken_it_gets_a_key() {
    let world = World::new(ProofPolicy::Code, Signing::WhereAllowed).await;
    world.activate().await.expect("activated");
    assert!(matches!(
        world.stored().credentials().secret(),
        Secret::ApiKey(_)
    ));
    // The board is enrolled all the same.
    assert!(!world.server.device().await.hardware.is_empty());
}

#[tokio::test]
async fn who_insists_on_a_key_pair_gets_nothing_else() {
    let world = World::new(ProofPolicy::Code, Signing::KeyPair).await;
    let ended = world.activate().await;
    assert!(
        matches!(ended, Err(ActivateError::Refused(Refusal::NoSignatures))),
        "{ended:?}"
    );
    assert!(
        has_key_pair(&world.stored()),
        "the pair is kept for better times"
    );
}

#[tokio::test]
async fn a_device_that_may_not_sign_is_told_that_it_should() {
    let world = World::new(ProofPolicy::Signed, Signing::Off).await;
    let ended = world.activate().await;
    assert!(
        matches!(ended, Err(ActivateError::Refused(Refusal::SignatureWanted))),
        "{ended:?}"
    );
}

#[tokio::test]
async fn a_device_that_has_signed_never_goes_back_to_a_key() {
    let world = World::new(ProofPolicy::Either, Signing::WhereAllowed).await;
    world.activate().await.expect("activated");
    let mut device = world.fixture.device.clone();
    device.signing = Signing::Off;
    let ended = activate(&device, Some(&world.server.code()), HUNG).await;
    assert!(
        matches!(
            ended,
            Err(ActivateError::Load(LoadError::OtherSecret { .. }))
        ),
        "{ended:?}"
    );
    assert!(has_key_pair(&world.stored()));
}

#[tokio::test]
async fn a_device_key_needs_no_code_and_learns_its_place() {
    let mut world = World::new(ProofPolicy::Signed, Signing::Off).await;
    let burnt_in = BurntIn {
        key: world.server.device_key(),
        product: world.server.product.clone(),
        pepper: None,
    };
    world.fixture.device.signing = Signing::BurntIn(burnt_in);
    world.activate_with(None).await.expect("activated");

    let stored = world.stored();
    let credentials = stored.credentials();
    let device = world.server.device().await;
    assert_eq!(credentials.feed_id(), Some(device.feed));
    assert_eq!(credentials.handover(), Handover::Confirmed);
    assert!(
        credentials.pepper().is_some(),
        "so that the next login shows the board"
    );
    assert!(matches!(
        device.keys,
        Keys::Confirmed {
            current: Key::Derived(_),
            ..
        }
    ));

    // What is stored is not written anew, though the key is given again.
    let beside = world.fixture.directory.path().join("device.json.new");
    std::fs::create_dir(beside).expect("in the way");
    let asked = licence(&world.fixture.device, HUNG);
    let ended = world.serving(asked).await;
    assert!(
        matches!(ended, Err(ActivateError::Refused(_))),
        "no licence: {ended:?}"
    );
    let again = world.activate_with(None).await;
    assert!(matches!(again, Ok(Activated::Already(_))), "{again:?}");
}

#[tokio::test]
async fn a_wrong_clock_is_set_right_by_the_server() {
    for hours in [-2, 2, 20_000] {
        let mut world = World::new(ProofPolicy::Signed, Signing::Off).await;
        world.server.is_ahead(hours * 3_600_000);
        // With a device key the first the server hears is a signature.
        world.fixture.device.signing = Signing::BurntIn(BurntIn {
            key: world.server.device_key(),
            product: world.server.product.clone(),
            pepper: None,
        });
        world.activate_with(None).await.expect("activated");
        let logins = world.server.passwords().len();
        assert_eq!(logins, 3, "refused, told why, let in");
    }
}

#[tokio::test]
async fn no_password_is_shown_twice() {
    let world = World::new(ProofPolicy::Signed, Signing::WhereAllowed).await;
    world.server.is_ahead(7_200_000);
    world.activate().await.expect("activated");
    let mut passwords = world.server.passwords();
    let shown = passwords.len();
    passwords.sort_unstable();
    passwords.dedup();
    assert_eq!(passwords.len(), shown);
}

#[tokio::test]
async fn a_refusal_is_told_in_the_servers_words() {
    let mut world = World::new(ProofPolicy::Either, Signing::WhereAllowed).await;
    world.server.watches_hardware(HardwareMode::Enforce).await;
    world.activate().await.expect("activated");
    let copied = world.fixture.device.credentials.path().to_owned();
    let text = std::fs::read_to_string(&copied).expect("text");
    let text = text.replace("\"confirmed\":true", "\"confirmed\":false");
    std::fs::write(&copied, text).expect("written");
    world.moves_to("raspberry-pi-5");
    let ended = world.activate_with(None).await;
    let refused = ended.expect_err("refused").to_string();
    assert!(
        refused.contains("board") || refused.contains("hardware"),
        "{refused}"
    );
}

#[tokio::test]
async fn a_licence_is_asked_for_with_a_signature() {
    let world = World::new(ProofPolicy::Signed, Signing::WhereAllowed).await;
    world.server.has_seats(1).await;
    world.activate().await.expect("activated");
    let asked = licence(&world.fixture.device, HUNG);
    let token = world.serving(asked).await.expect("a licence");

    let now = world.server.now();
    let key = world.server.door.licence_key().await.expect("a key");
    let read = LicenceToken::verify(&token, &key, now).expect("valid");
    assert_eq!(read.serial, serial());
    let facts = |name: &str| world.stored().facts(&Board::named(name).machine());
    let replaceable = FactSet::replaceable();
    assert!(
        read.misfits(&facts("raspberry-pi-4b"), &replaceable)
            .is_empty()
    );
    assert!(
        !read
            .misfits(&facts("raspberry-pi-5"), &replaceable)
            .is_empty()
    );
}

#[tokio::test]
async fn a_used_code_shows_the_board_that_it_is_used_on() {
    let mut world = World::new(ProofPolicy::Either, Signing::WhereAllowed).await;
    world.server.watches_hardware(HardwareMode::Warn).await;
    world.activate().await.expect("activated");
    // The whole card is copied; the key is forgotten by an operator's mistake,
    // or by a thief who tries the code instead.
    let text = std::fs::read_to_string(world.fixture.path()).expect("text");
    let fresh = text
        .replace("\"confirmed\":true", "\"confirmed\":false")
        .replace("\"feed_id\":", "\"was_feed_id\":");
    std::fs::write(world.fixture.path(), fresh).expect("written");
    world.moves_to("raspberry-pi-5");
    let ended = world.activate().await;
    assert!(ended.is_err(), "{ended:?}");
    let events = world.server.events().await;
    assert!(
        events.iter().any(|event| event.contains("CloneSuspected")),
        "{events:?}"
    );
}

#[tokio::test]
async fn requests_are_signed_with_numbers_that_only_rise() {
    let world = World::new(ProofPolicy::Signed, Signing::WhereAllowed).await;
    world.activate().await.expect("activated");
    let path = world.fixture.path();
    let signer = |block| {
        let file = CredentialsFile::at(&path);
        RequestSigner::new(file, &serial(), world.board.machine(), block).expect("a signer")
    };
    let here = std::net::IpAddr::from([127, 0, 0, 1]);
    let digest = firstwake::signed::RequestDigest::of("PUT", "/v1/x?a=1", b"hello");
    let shop = "shop".parse().expect("a server's name");
    let (mut one, mut other) = (signer(4), signer(1));
    let mut tokens = Vec::new();
    for _ in 0..6 {
        tokens.push(
            one.sign(&shop, "PUT", "/v1/x?a=1", b"hello")
                .expect("signed"),
        );
        tokens.push(
            other
                .sign(&shop, "PUT", "/v1/x?a=1", b"hello")
                .expect("signed"),
        );
    }
    // Any order, each once.
    tokens.reverse();
    for token in &tokens {
        let verified =
            world
                .server
                .door
                .verify_request(token, &digest, &shop, here, world.server.now());
        verified.await.expect("verified");
    }
    for token in &tokens {
        let again =
            world
                .server
                .door
                .verify_request(token, &digest, &shop, here, world.server.now());
        assert!(again.await.is_err());
    }
}
