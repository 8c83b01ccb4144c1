//! How the promises of the desktop client and the page are measured: by the tests that hold them (`test_run`).

use std::fs;

use super::{
    Check, Context,
    figure::Figure,
    goals::clients as goal,
    test_run::{Tests, tests},
};

pub(crate) fn checks() -> Vec<Check> {
    vec![
        Check { name: "in the browser", goal: goal::BROWSER, measure: browser },
        Check { name: "the desktop client", goal: goal::DESKTOP, measure: desktop },
        Check { name: "pictures", goal: goal::PICTURES, measure: pictures },
        Check { name: "an hour of captions", goal: goal::LONG, measure: long },
        Check { name: "for everybody", goal: goal::ACCESS, measure: access },
        Check { name: "first use", goal: goal::FIRST_USE, measure: first_use },
        Check { name: "the server alone", goal: goal::SERVER_ALONE, measure: server_alone },
    ]
}

fn browser(context: &Context) -> anyhow::Result<Vec<Figure>> {
    let session = tests(context, Tests::of("browser", "a_person_signs_in"))?;
    let cut = tests(context, Tests::of("browser", "a_network_cut"))?;
    let overlay = tests(context, Tests::of("browser", "the_overlay_shows"))?;
    Ok(vec![
        session.ran("sign in, speak, export"),
        session.share("cues of the exported SRT that equal a final", "srt_cues_equal", "finals_sent"),
        cut.ran("a network cut of 10 s"),
        cut.at_least("words heard", "cut_words", 1.0),
        cut.at_most("words missing after the cut", "cut_words_missing", 0.0, ""),
        overlay.ran("the overlay page, transparent"),
    ])
}

fn desktop(context: &Context) -> anyhow::Result<Vec<Figure>> {
    let captions = tests(context, Tests::of("desktop", "system_audio_becomes_captions"))?;
    let sign_in = tests(context, Tests::of("desktop", "a_person_signs_in"))?;
    let sound = tests(context, Tests::of("pulse", ""))?;
    Ok(vec![
        captions.ran("system audio to captions in the overlay"),
        captions.at_least("captions in the overlay", "desktop_captions", 1.0),
        captions.exactly("overlay above all windows (_NET_WM_STATE_ABOVE)", "overlay_above", 1.0),
        captions.exactly("overlay transparent: 32 bit window, stripes seen through it", "overlay_transparent", 1.0),
        sign_in.ran("sign-in through the system browser, keychain, sign-out"),
        sign_in.at_most("tokens in files of the client", "tokens_in_files", 0.0, ""),
        sound.ran("what is captured is what is played; devices that come and go"),
    ])
}

/// That they are there; a person has to look at them.
fn pictures(context: &Context) -> anyhow::Result<Vec<Figure>> {
    let folder = context.workspace.root.join("docs/pictures");
    let names: Vec<_> = goal::SCENES
        .iter()
        .flat_map(|scene| goal::LANGUAGES.iter().map(move |language| format!("desktop-{scene}-{language}")))
        .flat_map(|name| goal::THEMES.iter().map(move |theme| format!("{name}-{theme}.png")))
        .collect();
    let there = names.iter().filter(|name| folder.join(name).is_file()).count();
    Ok(vec![Figure::all("pictures in docs/pictures", there, names.len())])
}

fn long(context: &Context) -> anyhow::Result<Vec<Figure>> {
    let hour = tests(context, Tests::measuring("browser", "an_hour_of_captions"))?;
    let idle = tests(context, Tests::measuring("desktop", "an_idle_minute"))?;
    Ok(vec![
        hour.ran("an hour of captions"),
        hour.at_most("memory at the end by that at the half", "heap_growth_ratio", goal::MEMORY_GROWTH, ""),
        hour.at_most("frame while captions update, p95", "frame_ms_p95", goal::FRAME_P95_MS, "ms"),
        idle.ran("listening to silence"),
        idle.at_most("of one core while listening to silence", "idle_percent", goal::IDLE_PERCENT, "%"),
    ])
}

fn access(context: &Context) -> anyhow::Result<Vec<Figure>> {
    let found = tests(context, Tests::of("browser", "every_page_and_theme_is_accessible"))?;
    Ok(vec![
        found.ran("axe-core and the Tab key"),
        found.at_least("pages in their themes and languages", "axe_scenes", 1.0),
        found.at_most("serious issues", "axe_serious", 0.0, ""),
        found.at_most("controls that Tab does not reach", "controls_unreachable", 0.0, ""),
    ])
}

/// The numbered actions under the heading `First caption` of docs/DESKTOP.md, and the pictures beside them.
fn first_use(context: &Context) -> anyhow::Result<Vec<Figure>> {
    let text = fs::read_to_string(context.workspace.root.join("docs/DESKTOP.md")).unwrap_or_default();
    let (actions, shown) = script(&text);
    let actions = if actions == 0 { f64::INFINITY } else { actions as f64 };
    Ok(vec![
        Figure::at_most("actions from install to first caption", actions, goal::ACTIONS, ""),
        if shown > 0 {
            Figure::met("pictures beside them", shown.to_string())
        } else {
            Figure::failed("pictures", "none")
        },
    ])
}

/// How many actions are numbered, and how many pictures are shown, under the heading that names the first caption.
fn script(document: &str) -> (usize, usize) {
    let heading = |line: &str| line.starts_with('#') && line.to_lowercase().contains("first caption");
    let part: Vec<_> = document
        .lines()
        .skip_while(|line| !heading(line))
        .skip(1)
        .take_while(|line| !line.starts_with("## "))
        .collect();
    let numbered = |line: &&&str| line.split_once(". ").is_some_and(|(number, _)| number.parse::<u32>().is_ok());
    (part.iter().filter(numbered).count(), part.iter().filter(|line| line.contains("](pictures/")).count())
}

/// By what Cargo would build: no crate of the server's programs may lead to the desktop's libraries.
fn server_alone(context: &Context) -> anyhow::Result<Vec<Figure>> {
    const PROGRAMS: [&str; 4] = ["subtide", "gateway", "stt-worker", "translation-worker"];
    const SYSTEM: [&str; 5] = ["gtk-sys", "webkit2gtk-sys", "alsa-sys", "glib-sys", "tauri"];
    let mut needed: Vec<&str> = Vec::new();
    for program in PROGRAMS {
        let tree = context.workspace.cargo(["tree", "--package", program, "--prefix", "none", "--locked"]).output()?;
        let tree = String::from_utf8_lossy(&tree.stdout);
        anyhow::ensure!(tree.contains(program), "cargo tree tells nothing of {program}");
        needed.extend(SYSTEM.into_iter().filter(|name| tree.lines().any(|line| line.split(' ').next() == Some(*name))));
    }
    let what = "server programs without the desktop's system libraries";
    Ok(vec![if needed.is_empty() {
        Figure::met(what, PROGRAMS.join(", "))
    } else {
        Figure::failed(what, format!("they need {needed:?}"))
    }])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_numbered_actions_of_the_first_caption_are_counted() {
        let document = "# Desktop\n1. no\n## From install to first caption\n1. one\n![a](pictures/a.png)\n2. two\n\
                        ### Notes\ntext 3. x\n## Later\n1. no\n";
        assert_eq!(script(document), (2, 1));
        assert_eq!(script("## Nothing\n1. x"), (0, 0));
    }
}
