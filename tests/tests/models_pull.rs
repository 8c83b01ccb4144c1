//! `subtide models pull` against a hub on this machine: what is taken, what is refused, and that a transfer that broke
//! off goes on where it stopped.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on fails")]

use std::{fs, path::Path, path::PathBuf};

use subtide::models::{PullArgs, Pulled, Store};
use tempfile::TempDir;

#[path = "models_pull/fake_hub.rs"]
mod fake_hub;

use fake_hub::{FakeHub, Fault, MODEL, RunningHub, WEIGHTS_BYTES};

const WEIGHTS: &str = "model.safetensors";

/// A hub, and an empty models directory to pull into.
struct Case {
    hub: RunningHub,
    models: TempDir,
}

impl Case {
    async fn new(hub: FakeHub) -> Self {
        Self { hub: hub.serve().await, models: tempfile::tempdir().unwrap() }
    }

    fn store(&self) -> Store {
        Store { endpoint: self.hub.endpoint(), token: None, models_dir: self.models.path().to_owned() }
    }

    async fn pull(&self) -> anyhow::Result<Pulled> {
        self.store().pull(&args(MODEL)).await
    }

    /// The message, causes included, of a pull that must fail.
    async fn refusal(&self) -> String {
        format!("{:#}", self.pull().await.unwrap_err())
    }

    fn path(&self, file: &str) -> PathBuf {
        self.models.path().join(MODEL).join(file)
    }

    fn part(&self) -> PathBuf {
        self.path(&format!("{WEIGHTS}.part"))
    }
}

fn args(name: &str) -> PullArgs {
    PullArgs { name: name.to_owned(), revision: "main".to_owned(), force: false, gguf: None }
}

fn names_in(directory: &Path) -> Vec<String> {
    let mut names: Vec<_> =
        fs::read_dir(directory).unwrap().map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
    names.sort();
    names
}

#[tokio::test]
async fn what_inference_needs_is_pulled_and_an_intact_file_never_again() {
    let case = Case::new(FakeHub::new()).await;
    let pulled = case.pull().await.unwrap();
    let expected = ["config.json", "tokenizer.json", WEIGHTS];
    assert_eq!((pulled.downloaded.as_slice(), pulled.kept.len()), (&expected.map(str::to_owned)[..], 0));
    assert_eq!(names_in(&pulled.directory), ["config.json", WEIGHTS, "tokenizer.json"]);
    for file in expected {
        assert_eq!(fs::read(case.path(file)).unwrap(), case.hub.bytes(file), "{file}");
    }

    fs::write(case.path("tokenizer.json"), "{}").unwrap();
    let again = case.pull().await.unwrap();
    assert_eq!(again.downloaded, ["tokenizer.json"]);
    assert_eq!(fs::read(case.path("tokenizer.json")).unwrap(), case.hub.bytes("tokenizer.json"));

    let forced = case.store().pull(&PullArgs { force: true, ..args(MODEL) }).await.unwrap();
    assert_eq!(forced.downloaded.len(), 3);
}

#[tokio::test]
async fn a_transfer_that_breaks_off_goes_on_where_it_stopped() {
    let case = Case::new(FakeHub::new().with(WEIGHTS, Fault::BreakOffOnceAfter(70_000))).await;
    case.pull().await.unwrap();
    assert_eq!(fs::read(case.path(WEIGHTS)).unwrap(), case.hub.bytes(WEIGHTS));
    let asked = case.hub.asked_for(WEIGHTS);
    assert_eq!(asked[0], 0);
    // The connection may have swallowed the end of what was sent before it broke.
    assert!(asked.len() == 2 && asked[1] > 0 && asked[1] <= 70_000, "{asked:?}");
}

#[tokio::test]
async fn a_later_call_goes_on_with_what_an_earlier_one_left() {
    let case = Case::new(FakeHub::new()).await;
    fs::create_dir_all(case.part().parent().unwrap()).unwrap();
    fs::write(case.part(), &case.hub.bytes(WEIGHTS)[..123_456]).unwrap();
    case.pull().await.unwrap();
    assert_eq!(case.hub.asked_for(WEIGHTS), [123_456]);
    assert_eq!(fs::read(case.path(WEIGHTS)).unwrap(), case.hub.bytes(WEIGHTS));
    assert!(!case.part().exists());
}

#[tokio::test]
async fn what_was_left_of_another_version_is_noticed_and_fetched_anew() {
    let case = Case::new(FakeHub::new()).await;
    fs::create_dir_all(case.part().parent().unwrap()).unwrap();
    fs::write(case.part(), vec![0xAA; 1000]).unwrap();
    case.pull().await.unwrap();
    assert_eq!(case.hub.asked_for(WEIGHTS), [1000, 0]);
    assert_eq!(fs::read(case.path(WEIGHTS)).unwrap(), case.hub.bytes(WEIGHTS));
}

#[tokio::test]
async fn a_hub_that_cannot_resume_is_asked_for_the_whole_file() {
    let case = Case::new(FakeHub::new().with(WEIGHTS, Fault::IgnoresRange)).await;
    fs::create_dir_all(case.part().parent().unwrap()).unwrap();
    fs::write(case.part(), &case.hub.bytes(WEIGHTS)[..1000]).unwrap();
    case.pull().await.unwrap();
    assert_eq!(fs::read(case.path(WEIGHTS)).unwrap(), case.hub.bytes(WEIGHTS));
}

#[tokio::test]
async fn a_damaged_file_never_takes_its_place() {
    for (file, part) in [(WEIGHTS, "model.safetensors.part"), ("config.json", "config.json.part")] {
        let case = Case::new(FakeHub::new().with(file, Fault::FlippedByte)).await;
        let refusal = case.refusal().await;
        assert!(refusal.contains(file) && refusal.contains("checksum"), "{refusal}");
        assert!(!case.path(file).exists() && !case.path(part).exists(), "{file}");
    }
}

#[tokio::test]
async fn a_hub_that_fails_all_the_time_is_given_up_and_what_came_is_kept() {
    let case = Case::new(FakeHub::new().with(WEIGHTS, Fault::BreaksOffAlwaysAt(50_000))).await;
    let refusal = case.refusal().await;
    assert!(refusal.contains(&format!("of {WEIGHTS_BYTES} bytes")) && refusal.contains("goes on"), "{refusal}");
    let kept = fs::read(case.part()).unwrap();
    assert!(!kept.is_empty() && case.hub.bytes(WEIGHTS).starts_with(&kept), "{} bytes", kept.len());
    assert!(!case.path(WEIGHTS).exists());
}

#[tokio::test]
async fn a_model_that_wants_a_token_says_so_and_is_pulled_with_one() {
    let case = Case::new(FakeHub::new().private_to("hf_secret")).await;
    let refusal = case.refusal().await;
    assert!(refusal.contains("401") && refusal.contains("HF_TOKEN"), "{refusal}");
    let store = Store { token: Some("hf_secret".into()), ..case.store() };
    assert_eq!(store.pull(&args(MODEL)).await.unwrap().downloaded.len(), 3);
    assert!(!format!("{store:?}").contains("hf_secret"));
}

#[tokio::test]
async fn an_unknown_model_or_revision_is_named() {
    let case = Case::new(FakeHub::new()).await;
    let unknown = case.store().pull(&args("nobody/nothing")).await.unwrap_err();
    assert!(format!("{unknown:#}").contains("the hub has no model nobody/nothing at revision main"), "{unknown:#}");
    let revision = PullArgs { revision: "refs/pr/9".to_owned(), ..args(MODEL) };
    let unknown = case.store().pull(&revision).await.unwrap_err();
    assert!(format!("{unknown:#}").contains("refs/pr/9"), "{unknown:#}");
    assert_eq!(fs::read_dir(case.models.path()).unwrap().count(), 0);
}

#[tokio::test]
async fn a_pull_request_of_a_model_can_be_pulled() {
    let case = Case::new(FakeHub::new().at_revision("refs/pr/1")).await;
    let revision = PullArgs { revision: "refs/pr/1".to_owned(), ..args(MODEL) };
    assert_eq!(case.store().pull(&revision).await.unwrap().downloaded.len(), 3);
}

#[tokio::test]
async fn nothing_is_pulled_of_a_model_whose_files_would_lie_elsewhere_or_cannot_be_loaded() {
    let case = Case::new(FakeHub::new().listing("../../outside.json")).await;
    let refusal = case.refusal().await;
    assert!(refusal.contains("../../outside.json"), "{refusal}");
    assert_eq!(fs::read_dir(case.models.path()).unwrap().count(), 0);

    let case = Case::new(FakeHub::new().without(WEIGHTS).listing("model-q4k.gguf")).await;
    let refusal = case.refusal().await;
    assert!(refusal.contains("no weights") && refusal.contains("--gguf it can be one of model-q4k.gguf"), "{refusal}");
    assert_eq!(fs::read_dir(case.models.path()).unwrap().count(), 0);
}

#[tokio::test]
async fn without_a_connection_the_message_tells_what_to_do_instead() {
    // A port nobody listens on: it was free a moment ago.
    let port = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    let models = tempfile::tempdir().unwrap();
    let endpoint = format!("http://127.0.0.1:{port}");
    let store = Store { endpoint, token: None, models_dir: models.path().to_owned() };
    let refusal = format!("{:#}", store.pull(&args(MODEL)).await.unwrap_err());
    for part in ["cannot be reached", "HF_ENDPOINT", "copy the model's directory", MODEL] {
        assert!(refusal.contains(part), "{part}: {refusal}");
    }
}
