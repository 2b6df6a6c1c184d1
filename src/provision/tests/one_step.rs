//! Activation in one step, tokens, and requests that are carried out once.

use super::*;
use crate::feed::{CurrentValue, Value};
use crate::product::DatastreamId;
use crate::secret::{ApiKey, OperatorToken};

const SERIAL: &str = "0123456789";

impl World {
    async fn activate(
        &self,
        claimed: Claimed<'_>,
        voucher: Voucher<'_>,
    ) -> Result<String, Refusal> {
        let json = AnswerFormat::Json;
        let answer = self.door.activate(claimed, voucher, json, HERE, NOW).await;
        let answer = answer.map(|(_, answer)| answer);
        match answer {
            Ok(answer) => {
                let json: serde_json::Value =
                    serde_json::from_slice(answer.expose_bytes()).expect("the answer is JSON");
                Ok(json["apikey"].as_str().expect("a key").to_owned())
            }
            Err(NotAdmitted::Refused(refusal)) => Err(refusal),
            Err(NotAdmitted::Unavailable(error)) => panic!("{error}"),
        }
    }

    async fn by_code(&self, text: &str, voucher: Voucher<'_>) -> Result<String, Refusal> {
        let code = ActivationCode::parse(text).expect("40 hex");
        self.activate(Claimed::Code(&code), voucher).await
    }

    pub(super) async fn operator(&self, name: &str, role: Role) -> OperatorName {
        let name = OperatorName::parse(name).expect("valid");
        let new = NewOperator {
            name: name.clone(),
            password: "correct horse battery".to_owned().into(),
            role,
            publish: Vec::new(),
            subscribe: Vec::new(),
        };
        self.door.add_operator(new, NOW).await.expect("added");
        name
    }

    pub(super) async fn login(&self, token: &OperatorToken) -> Result<OperatorLogin, NotAdmitted> {
        let attempt = Attempt {
            username: None,
            password: Some(token.expose().as_bytes()),
            source: HERE,
            hardware: None,
        };
        match self.door.admit(attempt, NOW).await? {
            Admission::Operator(login) => Ok(login),
            other => panic!("{other:?}"),
        }
    }

    /// A new operator of this role, in with a token.
    async fn logged_in(&self, name: &str, role: Role) -> OperatorLogin {
        let name = self.operator(name, role).await;
        let made = self.door.create_token(&name, "", None, NOW).await;
        self.login(&made.expect("made").1).await.expect("in")
    }

    async fn named(&self, text: &str, login: &OperatorLogin) -> Result<String, Refusal> {
        let name = DeviceName::parse(text).expect("valid");
        self.activate(Claimed::Device(&name), Voucher::Operator(login))
            .await
    }
}

#[tokio::test]
async fn a_code_works_until_its_key_is_used() {
    let world = World::new(Reactivation::UntilConfirmed).await;
    let right = code(SECRET, SERIAL);
    let one = world
        .by_code(&right, Voucher::Nothing)
        .await
        .expect("a key");
    let two = world.by_code(&right.to_uppercase(), Voucher::Nothing).await;
    let two = two.expect("a fresh key");
    assert_ne!(one, two, "the first answer was lost");
    assert!(!world.is_in(&one).await, "the newer one replaced it");
    assert!(world.is_in(&two).await);
    let spent = world.by_code(&right, Voucher::Nothing).await;
    assert_eq!(spent, Err(Refusal::CodeSpent));
    assert!(world.is_in(&two).await, "nothing has changed");
}

#[tokio::test]
async fn a_device_that_shows_its_key_is_told_it_again() {
    let world = World::new(Reactivation::UntilConfirmed).await;
    world.register(&["other"]).await;
    let right = code(SECRET, SERIAL);
    let key = world
        .by_code(&right, Voucher::Nothing)
        .await
        .expect("a key");
    let shown = ApiKey::parse(&key).expect("own shape");
    // Showing it confirms it.
    let again = world.by_code(&right, Voucher::Key(&shown)).await;
    assert_eq!(again.as_ref(), Ok(&key));
    let spent = world.by_code(&right, Voucher::Nothing).await;
    assert_eq!(spent, Err(Refusal::CodeSpent));
    assert_eq!(world.by_code(&right, Voucher::Key(&shown)).await, Ok(key));

    // It says nothing for another device, and a key of nobody nothing at all.
    let others = code(SECRET, "other");
    let fresh = world.by_code(&others, Voucher::Key(&shown)).await;
    assert!(fresh.is_ok_and(|fresh| fresh != shown.expose()));
    let nobodys = ApiKey::generate(&Counting::default());
    let spent = world.by_code(&right, Voucher::Key(&nobodys)).await;
    assert_eq!(spent, Err(Refusal::CodeSpent));
    // A revoked device is not told anything.
    world.change(Transition::Revoke).await;
    let revoked = world.by_code(&right, Voucher::Key(&shown)).await;
    assert_eq!(revoked, Err(Refusal::Revoked));
}

#[tokio::test]
async fn codes_that_nobody_has_are_explained_where_that_can_be_done() {
    let world = World::new(Reactivation::UntilConfirmed).await;
    let wrong = world.by_code(&"0".repeat(40), Voucher::Nothing).await;
    assert_eq!(wrong, Err(Refusal::UnknownDevice));
    // The secret's text in place of its bytes.
    let secret = ProductSecret::parse(SECRET).expect("valid");
    let serial = Serial::parse(SERIAL).expect("valid");
    let near_miss = ActivationCode::near_miss(&secret, &serial).expose_hex();
    let refused = world.by_code(&near_miss, Voucher::Nothing).await;
    assert_eq!(
        refused,
        Err(Refusal::UnknownDevice),
        "a stranger learns nothing"
    );
    let name = DeviceName::parse(SERIAL).expect("valid");
    let explained = world.door.explain(&name, NOW).await.expect("known");
    assert_eq!(explained.attempts.len(), 1);
    assert_eq!(explained.attempts[0].refusal, Refusal::CodeFromTextSecret);
    assert!(explained.advice.contains("decode the hex"));
}

#[tokio::test]
async fn an_admin_has_a_key_issued_to_an_active_device() {
    let world = World::new(Reactivation::Never).await;
    let admin = world.logged_in("boss", Role::Admin).await;
    let right = code(SECRET, SERIAL);
    let first = world
        .by_code(&right, Voucher::Nothing)
        .await
        .expect("a key");
    assert!(world.is_in(&first).await);
    let second = world.named(SERIAL, &admin).await.expect("a new one");
    assert!(world.is_in(&first).await, "not before the new one is used");
    assert!(world.is_in(&second).await);
    assert!(!world.is_in(&first).await);
    let third = world.by_code(&right, Voucher::Operator(&admin)).await;
    assert!(third.is_ok());

    assert_eq!(
        world.named("nobody", &admin).await,
        Err(Refusal::UnknownDevice)
    );
    world.change(Transition::Suspend).await;
    assert_eq!(world.named(SERIAL, &admin).await, Err(Refusal::Suspended));
}

#[tokio::test]
async fn a_role_below_admin_takes_no_active_device_over() {
    let world = World::new(Reactivation::UntilConfirmed).await;
    let operator = world.logged_in("ops", Role::Operator).await;
    let right = code(SECRET, SERIAL);
    // As often as the device itself might.
    world.named(SERIAL, &operator).await.expect("a key");
    let key = world.named(SERIAL, &operator).await.expect("a key");
    assert!(world.is_in(&key).await);
    let spent = Err(Refusal::CodeSpent);
    assert_eq!(world.named(SERIAL, &operator).await, spent);
    let by_code = world.by_code(&right, Voucher::Operator(&operator)).await;
    assert_eq!(by_code, spent);
    assert!(world.is_in(&key).await);

    for role in [Role::Viewer, Role::Verifier] {
        let login = world.logged_in(role.as_str(), role).await;
        let named = world.named(SERIAL, &login).await;
        assert_eq!(named, Err(Refusal::NoCredentials), "{}", role.as_str());
        let by_code = world.by_code(&right, Voucher::Operator(&login)).await;
        assert_eq!(by_code, spent);
    }
}

#[tokio::test]
async fn tokens_end_with_time_operator_or_removal() {
    let world = World::new(Reactivation::Never).await;
    let ops = world.operator("ops", Role::Admin).await;
    let hour = Some(Duration::from_secs(3600));
    let make = |label, span| world.door.create_token(&ops, label, span, NOW);
    let (short, token) = make("short", hour).await.expect("made");
    let login = world.login(&token).await.expect("in");
    assert_eq!((login.name(), login.role()), (&ops, Role::Admin));
    let later = NOW.plus(Duration::from_secs(3600));
    let attempt = Attempt {
        username: Some(token.expose()),
        password: None,
        source: HERE,
        hardware: None,
    };
    let late = world.door.admit(attempt, later).await;
    assert!(matches!(
        late,
        Err(NotAdmitted::Refused(Refusal::WrongOperator))
    ));
    // With another operator's name it is no token.
    let other = Attempt {
        username: Some("bob"),
        password: Some(token.expose().as_bytes()),
        source: HERE,
        hardware: None,
    };
    assert!(world.door.admit(other, NOW).await.is_err());

    let (long, second) = make("long", None).await.expect("made");
    let both = world.door.tokens(NOW).await.expect("readable");
    assert!(both.len() == 2 && both.contains(&short) && both.contains(&long));
    let left = world.door.tokens(later).await;
    assert_eq!(left, Ok(vec![long.clone()]));
    let watching = world.login(&second).await.expect("in");
    world
        .door
        .drop_expired_tokens(later)
        .await
        .expect("written");
    assert!(
        world.door.recheck_operator(&login).await.is_err(),
        "its session ends"
    );
    assert!(world.door.recheck_operator(&watching).await.is_ok());
    world.door.remove_token(&long.id, NOW).await.expect("there");
    assert!(world.door.recheck_operator(&watching).await.is_err());
    assert!(world.door.remove_token(&long.id, NOW).await.is_err());

    let (_, third) = make("again", None).await.expect("made");
    world.operator("boss", Role::Admin).await;
    world.door.remove_operator(&ops, NOW).await.expect("there");
    world.operator("ops", Role::Viewer).await;
    assert!(world.login(&third).await.is_err(), "another of that name");
}

#[tokio::test]
async fn a_request_is_carried_out_once() {
    let world = World::new(Reactivation::Never).await;
    let ops = world.operator("ops", Role::Admin).await;
    let (_, token) = world
        .door
        .create_token(&ops, "", None, NOW)
        .await
        .expect("made");
    let login = world.login(&token).await.expect("in");
    let begin = |key, request, now| world.door.begin_once(&login, key, request, now);
    let Ok(Once::Begun(begun)) = begin("k", [1; 32], NOW).await else {
        panic!("it is new");
    };
    assert!(matches!(
        begin("k", [1; 32], NOW).await,
        Ok(Once::Unfinished)
    ));
    assert!(matches!(
        begin("k", [2; 32], NOW).await,
        Ok(Once::OtherRequest)
    ));
    world
        .door
        .end_once(begun, b"201 secret")
        .await
        .expect("written");
    match begin("k", [1; 32], NOW).await {
        Ok(Once::Answered(answer)) => assert_eq!(answer.as_slice(), b"201 secret"),
        other => panic!("{other:?}"),
    }
    let tomorrow = NOW.plus(Duration::from_secs(24 * 60 * 60));
    assert!(matches!(
        begin("k", [2; 32], tomorrow).await,
        Ok(Once::Begun(_))
    ));
    // With other rights it has not asked for that yet.
    world.operator("boss", Role::Admin).await;
    let later = NOW.plus(Duration::from_secs(1));
    let again = NewOperator {
        name: ops.clone(),
        password: "correct horse battery".to_owned().into(),
        role: Role::Viewer,
        publish: Vec::new(),
        subscribe: Vec::new(),
    };
    world
        .door
        .add_operator(again, later)
        .await
        .expect("changed");
    let demoted = world.login(&token).await.expect("in");
    assert_eq!(demoted.role(), Role::Viewer);
    let asked = world.door.begin_once(&demoted, "k", [2; 32], tomorrow);
    assert!(matches!(asked.await, Ok(Once::Begun(_))));

    let Ok(Once::Begun(begun)) = begin("l", [1; 32], NOW).await else {
        panic!("it is new");
    };
    world.door.forget_once(begun).await.expect("written");
    assert!(matches!(begin("l", [2; 32], NOW).await, Ok(Once::Begun(_))));
    world
        .door
        .forget_old_requests(tomorrow)
        .await
        .expect("written");
    let left = world.registry.occasions().await.expect("readable");
    assert_eq!(left.len(), 2, "those of tomorrow");
}

#[tokio::test]
async fn renaming_and_removing_follow_the_code() {
    let world = World::new(Reactivation::UntilConfirmed).await;
    world.register(&["taken"]).await;
    let name = |text| DeviceName::parse(text).expect("valid");
    let serial = |text| Serial::parse(text).expect("valid");
    let rename = |from, to| world.door.rename_device(from, to, NOW);
    let old = name(SERIAL);
    assert!(matches!(
        rename(&old, serial("taken")).await,
        Err(DeviceError::Taken(_))
    ));
    let session = world.activation().await;
    let renamed = rename(&old, serial("new")).await.expect("free");
    assert_eq!(renamed.serial.as_str(), "new");
    // Whoever came in with the old code gets no key for it any more.
    let mut session = session;
    assert!(world.door.recheck_activation(&session).await.is_err());
    let request = ProvisionRequest::default();
    let asked = world.door.issue(&mut session, &request, HERE, NOW).await;
    assert_eq!(asked, Err(NotIssued::Refused(Refusal::WrongCode)));
    let gone = world.by_code(&code(SECRET, SERIAL), Voucher::Nothing).await;
    assert_eq!(gone, Err(Refusal::UnknownDevice));
    assert!(
        world
            .by_code(&code(SECRET, "new"), Voucher::Nothing)
            .await
            .is_ok()
    );
    let found = world.door.code_of(&renamed, NOW).await.expect("a code");
    assert_eq!(found.expose_hex(), code(SECRET, "new"));

    world
        .door
        .remove_device(&name("new"), NOW)
        .await
        .expect("there");
    let gone = world.by_code(&code(SECRET, "new"), Voucher::Nothing).await;
    assert_eq!(gone, Err(Refusal::UnknownDevice));
    assert!(world.door.remove_device(&name("new"), NOW).await.is_err());

    // Whoever is unknown is still looked up at the price of a device that is.
    let others = code(SECRET, "taken");
    assert!(world.by_code(&others, Voucher::Nothing).await.is_ok());
    let somebody = world.registry.device(world.door.somebody()).await;
    assert!(matches!(somebody, Ok(Some(_))));

    let removed = world.door.remove_product(&world.product, NOW).await;
    assert_eq!(removed.expect("there"), 1);
    let gone = world
        .by_code(&code(SECRET, "taken"), Voucher::Nothing)
        .await;
    assert_eq!(gone, Err(Refusal::UnknownDevice));
    assert!(world.door.secret_of(&world.product, NOW).await.is_err());
}

#[tokio::test]
async fn searching_pages_and_filters() {
    let world = World::new(Reactivation::UntilConfirmed).await;
    world.register(&["Alpha", "alpine", "beta"]).await;
    let used = world.by_code(&code(SECRET, "beta"), Voucher::Nothing).await;
    assert!(used.is_ok());
    let check = async |serial: Option<&str>, activated, skip, limit, total, serials: &[&str]| {
        let filter = DeviceFilter {
            serial: serial.map(str::to_owned),
            activated,
        };
        let found = world
            .door
            .search(&world.product, &filter, skip, limit)
            .await;
        let found = found.expect("there");
        let named: Vec<&str> = found.devices.iter().map(|it| it.serial.as_str()).collect();
        assert_eq!((found.total, named.as_slice()), (total, serials));
    };
    check(None, None, 0, 2, 4, &[SERIAL, "Alpha"]).await;
    check(None, None, 2, 2, 4, &["alpine", "beta"]).await;
    check(None, None, 4, 2, 4, &[]).await;
    check(Some("ALP"), None, 0, 9, 2, &["Alpha", "alpine"]).await;
    check(Some("alp"), None, 1, 9, 2, &["alpine"]).await;
    check(None, Some(true), 0, 9, 1, &["beta"]).await;
    check(Some("alp"), Some(true), 0, 9, 0, &[]).await;
    check(None, Some(false), 0, 1, 3, &[SERIAL]).await;
}

#[tokio::test]
async fn values_are_kept_within_the_products_limit() {
    let world = World::new(Reactivation::Never).await;
    let feed = crate::identity::FeedId::FIRST;
    let keep = |names: &[&str], at| {
        let values = names.iter().map(|name| CurrentValue {
            datastream: DatastreamId::parse(name).expect("valid"),
            value: Value::parse("1").expect("valid"),
            at,
        });
        world.door.keep_values(feed, values.collect(), NOW)
    };
    assert_eq!(keep(&["a", "b"], NOW).await, Ok(()));
    assert_eq!(keep(&["b", "c"], NOW).await, Err(NotKept::QuotaExceeded));
    // A clock that is years ahead does not stop a datastream for years.
    let years = NOW.plus(Duration::from_secs(1_000_000_000));
    assert_eq!(keep(&["a"], years).await, Ok(()));
    let values = world.registry.values(feed).await.expect("readable");
    assert_eq!(values[0].at, NOW.plus(Duration::from_secs(24 * 60 * 60)));
    let nobody = crate::identity::FeedId::NOBODYS;
    let unknown = world.door.keep_values(nobody, Vec::new(), NOW).await;
    assert_eq!(unknown, Err(NotKept::Unknown(nobody)));
}
