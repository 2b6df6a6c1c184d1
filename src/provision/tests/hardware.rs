//! Boards: enrolled, compared, and what follows when they differ.

use super::signing::{Author, SERIAL, after, board};
use super::*;
use crate::clones::{CloneSignal, OnClone, Peer, Takeover};
use crate::device::Device;
use crate::event::EventKind;
use crate::hardware::{Fact, FactValue, Facts, HardwareMode, Pepper};

impl World {
    pub(super) async fn mode(&self, mode: HardwareMode, on_clone: OnClone) {
        self.set(ProductChange {
            hardware_mode: Some(mode),
            on_clone: Some(on_clone),
            ..ProductChange::default()
        })
        .await;
    }

    async fn pepper(&self) -> Pepper {
        let pepper = self.door.pepper(&self.product, NOW).await;
        pepper.expect("a product has one")
    }

    async fn on(&self, cpu: &str, card: &str) -> Author {
        Author {
            board: board(&self.pepper().await, cpu, card),
            ..self.derived()
        }
    }

    async fn device(&self) -> Device {
        let name = DeviceName::parse(SERIAL).expect("valid");
        self.door.find_device(&name).await.expect("registered")
    }

    async fn signals(&self) -> Vec<CloneSignal> {
        let events = self.registry.events(0, 1000).await.expect("readable");
        let kinds = events.into_iter().map(|event| event.body.kind);
        kinds
            .filter_map(|kind| match kind {
                EventKind::CloneSuspected { signal, .. } => Some(signal),
                _ => None,
            })
            .collect()
    }
}

#[tokio::test]
async fn what_follows_from_another_board_is_the_products_to_say() {
    let check = async |mode, on_clone, expected: Result<(), Refusal>, signals: &[CloneSignal]| {
        let world = World::new(Reactivation::UntilConfirmed).await;
        world.mode(mode, on_clone).await;
        let (home, copy) = (world.on("1", "x").await, world.on("2", "y").await);
        let login = world.sign_in(&home.login(NOW, "1"), NOW).await;
        login.expect("enrolled");
        let copied = world.sign_in(&copy.login(after(1), "1"), after(1)).await;
        let expected = expected.map_err(NotAdmitted::Refused);
        assert_eq!(copied.map(drop), expected, "{mode}");
        assert_eq!(world.signals().await, signals, "{mode}");
        let enrolled = world.device().await.hardware;
        let last = match mode {
            HardwareMode::Off => Facts::default(),
            HardwareMode::Record => copy.board,
            HardwareMode::Warn | HardwareMode::Enforce => home.board,
        };
        assert_eq!(enrolled, last, "{mode}");
    };
    let (alert, aside) = (OnClone::Alert, OnClone::Quarantine);
    let mismatch = [CloneSignal::HardwareMismatch];
    check(HardwareMode::Off, aside, Ok(()), &[]).await;
    check(HardwareMode::Record, aside, Ok(()), &[]).await;
    check(HardwareMode::Warn, alert, Ok(()), &mismatch).await;
    let out = Err(Refusal::Quarantined);
    check(HardwareMode::Warn, aside, out, &mismatch).await;
    let out = Err(Refusal::HardwareMismatch);
    check(HardwareMode::Enforce, alert, out, &mismatch).await;
    check(HardwareMode::Enforce, aside, out, &mismatch).await;
}

#[tokio::test]
async fn a_replaced_card_is_no_stolen_identity() {
    let world = World::new(Reactivation::UntilConfirmed).await;
    world.mode(HardwareMode::Enforce, OnClone::Quarantine).await;
    let (before, after_repair) = (world.on("1", "x").await, world.on("1", "y").await);
    let login = world.sign_in(&before.login(NOW, "1"), NOW).await;
    login.expect("enrolled");
    let login = world
        .sign_in(&after_repair.login(after(1), "1"), after(1))
        .await;
    login.expect("a card may change");
    assert_eq!(world.device().await.hardware, after_repair.board);
    let names = world.event_names().await;
    assert_eq!(names.last(), Some(&"hardware_changed"));
    assert!(world.signals().await.is_empty());
}

#[tokio::test]
async fn a_device_that_shows_nothing_is_another_board() {
    let world = World::new(Reactivation::UntilConfirmed).await;
    world.mode(HardwareMode::Enforce, OnClone::Alert).await;
    let login = world.on("1", "x").await.login(NOW, "1");
    world.sign_in(&login, NOW).await.expect("enrolled");
    let silent = world.derived().login(after(1), "1");
    assert_eq!(
        world.turned_away(&silent, after(1)).await,
        Refusal::HardwareMismatch
    );
    assert_eq!(world.signals().await, [CloneSignal::HardwareMismatch]);
}

#[tokio::test]
async fn a_board_has_to_be_shown_where_it_is_enforced() {
    let world = World::new(Reactivation::UntilConfirmed).await;
    world.mode(HardwareMode::Enforce, OnClone::Quarantine).await;
    let silent = world.derived().login(NOW, "1");
    let refusal = world.turned_away(&silent, NOW).await;
    assert_eq!(refusal, Refusal::HardwareMismatch);
    assert!(world.signals().await.is_empty(), "nothing was enrolled");
    assert_eq!(world.lifecycle().await, Lifecycle::Registered);
}

#[tokio::test]
async fn a_board_outlives_a_reset() {
    let world = World::new(Reactivation::UntilConfirmed).await;
    world.mode(HardwareMode::Enforce, OnClone::Alert).await;
    let (home, other) = (world.on("1", "x").await, world.on("2", "x").await);
    world
        .sign_in(&home.login(NOW, "1"), NOW)
        .await
        .expect("enrolled");
    world.change(Transition::Reset).await;
    let refusal = world
        .turned_away(&other.login(after(1), "1"), after(1))
        .await;
    assert_eq!(refusal, Refusal::HardwareMismatch);
    world
        .sign_in(&home.login(after(2), "1"), after(2))
        .await
        .expect("its own board");
}

#[tokio::test]
async fn an_operator_clears_a_device_up() {
    let world = World::new(Reactivation::UntilConfirmed).await;
    world.mode(HardwareMode::Enforce, OnClone::Quarantine).await;
    let (old, new) = (world.on("1", "x").await, world.on("2", "x").await);
    world
        .sign_in(&old.login(NOW, "1"), NOW)
        .await
        .expect("enrolled");
    let refusal = world.turned_away(&new.login(after(1), "1"), after(1)).await;
    assert_eq!(refusal, Refusal::HardwareMismatch);
    assert_eq!(world.lifecycle().await, Lifecycle::Quarantined);
    let refusal = world.turned_away(&old.login(after(2), "1"), after(2)).await;
    assert_eq!(refusal, Refusal::Quarantined);

    world.change(Transition::Release).await;
    world.change(Transition::ForgetHardware).await;
    world
        .sign_in(&new.login(after(3), "1"), after(3))
        .await
        .expect("it enrols anew");
    assert_eq!(world.device().await.hardware, new.board);
}

#[tokio::test]
async fn boards_are_enrolled_at_activation() {
    let world = World::new(Reactivation::UntilConfirmed).await;
    world.mode(HardwareMode::Enforce, OnClone::Alert).await;
    let pepper = world.pepper().await;
    let facts = |cpu| board(&pepper, cpu, "x").to_json();
    let mut activation = world.activation().await;
    let waits = world.door.waits_for_request(&activation).await;
    assert!(waits.expect("readable"));
    let answer = world.ask(&mut activation, "{}", NOW).await;
    assert_eq!(answer["error"]["code"], "hardware_required");
    assert_eq!(world.lifecycle().await, Lifecycle::Registered);
    let request = serde_json::json!({ "hardware": facts("1") }).to_string();
    let answer = world.ask(&mut activation, &request, NOW).await;
    assert!(answer["apikey"].is_string(), "{answer}");

    // Its code in another board, before its key was used.
    let mut copied = world.activation().await;
    let request = serde_json::json!({ "hardware": facts("2") }).to_string();
    let answer = world.ask(&mut copied, &request, NOW).await;
    assert_eq!(answer["error"]["code"], "hardware_mismatch");
    assert_eq!(world.signals().await, [CloneSignal::HardwareMismatch]);
}

#[tokio::test]
async fn a_factory_may_know_the_board_first() {
    let world = World::new(Reactivation::UntilConfirmed).await;
    world.mode(HardwareMode::Enforce, OnClone::Alert).await;
    let known = NewSerial {
        serial: Serial::parse("F1").expect("valid"),
        hardware: vec![FactValue::parse(Fact::CpuSerial, " 00A1\n").expect("a value")],
        label: None,
    };
    let registered = world.door.register(&world.product, vec![known], NOW).await;
    registered.expect("registered");
    let activation = async || match world.admit("F1", &code(SECRET, "F1")).await {
        Ok(Admission::Activation(activation)) => activation,
        other => panic!("{other:?}"),
    };
    let pepper = world.pepper().await;
    let check = async |cpu: &str, fits: bool| {
        let request = serde_json::json!({ "hardware": board(&pepper, cpu, "x").to_json() });
        let mut activation = activation().await;
        let answer = world.ask(&mut activation, &request.to_string(), NOW).await;
        assert_eq!(answer["apikey"].is_string(), fits, "{cpu}: {answer}");
    };
    check("00a2", false).await;
    check("00a1", true).await;
}

#[tokio::test]
async fn a_spent_code_from_another_board_is_a_sign() {
    let world = World::new(Reactivation::UntilConfirmed).await;
    let pepper = world.pepper().await;
    let home = world.on("1", "x").await;
    world
        .sign_in(&home.login(NOW, "1"), NOW)
        .await
        .expect("signed");
    let code = code(SECRET, SERIAL);
    let check = async |hardware: Option<String>, expected: &[CloneSignal]| {
        let attempt = Attempt {
            username: Some(SERIAL),
            password: Some(code.as_bytes()),
            source: HERE,
            hardware: hardware.as_deref(),
        };
        let refused = world.door.admit(attempt, NOW).await;
        let spent = NotAdmitted::Refused(Refusal::CodeSpent);
        assert_eq!(refused.err(), Some(spent));
        assert_eq!(world.signals().await, expected);
    };
    let shown = |cpu| Some(board(&pepper, cpu, "x").to_json().to_string());
    check(None, &[]).await;
    check(Some("no JSON".to_owned()), &[]).await;
    check(shown("1"), &[]).await;
    check(shown("2"), &[CloneSignal::SpentCode]).await;
}

#[tokio::test]
async fn those_who_take_an_identity_from_each_other_are_put_aside() {
    let world = World::new(Reactivation::UntilConfirmed).await;
    world.mode(HardwareMode::Off, OnClone::Quarantine).await;
    let token = world.derived().login(NOW, "1");
    let login = world.sign_in(&token, NOW).await.expect("signed");
    let peer = |last| Peer {
        source: IpAddr::from([10, 0, 0, last]),
        client_id: "device".to_owned(),
    };
    for (from, to) in [(1, 2), (2, 1), (1, 2)] {
        assert_eq!(world.lifecycle().await, Lifecycle::Active);
        let takeover = Takeover {
            from: peer(from),
            to: peer(to),
        };
        let noted = world.door.note_takeover(login.feed(), &takeover, NOW).await;
        noted.expect("noted");
    }
    assert_eq!(world.lifecycle().await, Lifecycle::Quarantined);
    assert_eq!(world.signals().await, [CloneSignal::TwoAddresses]);
}

#[tokio::test]
async fn a_login_enrols_no_new_fact_where_boards_are_enforced() {
    let world = World::new(Reactivation::UntilConfirmed).await;
    let silent = world.derived().login(NOW, "1");
    world.sign_in(&silent, NOW).await.expect("active");
    world.mode(HardwareMode::Enforce, OnClone::Quarantine).await;

    // Nothing was enrolled: the first to show a board may be a copy.
    let copy = world.on("2", "y").await;
    let login = world.sign_in(&copy.login(after(1), "1"), after(1)).await;
    login.expect("nothing to compare with");
    assert_eq!(world.device().await.hardware, Facts::default());

    // An operator lets one login enrol, and one only.
    world.change(Transition::ForgetHardware).await;
    let home = world.on("1", "x").await;
    let login = world.sign_in(&home.login(after(2), "1"), after(2)).await;
    login.expect("enrolled");
    assert_eq!(world.device().await.hardware, home.board);
    let more = Author {
        board: Facts::of(
            &world.pepper().await,
            [
                (Fact::CpuSerial, "1"),
                (Fact::SdCard, "x"),
                (Fact::Mac, "b8:27:eb:00:00:01"),
            ],
        ),
        ..world.derived()
    };
    let login = world.sign_in(&more.login(after(3), "1"), after(3)).await;
    login.expect("the enrolled facts fit");
    assert_eq!(world.device().await.hardware, home.board);
    assert!(world.signals().await.is_empty());
}
