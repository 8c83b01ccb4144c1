//! Where the overlay was on each screen. Pure; all lengths are physical pixels.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

/// Part of a screen that a new overlay takes, in hundredths.
const DEFAULT_WIDTH: u32 = 80;
/// Height of a new overlay, in hundredths of the screen's.
const DEFAULT_HEIGHT: u32 = 22;
/// Room under a new overlay, in hundredths of the screen's height.
const DEFAULT_MARGIN: u32 = 3;
/// So much of an overlay has to be on a screen, either way, to be seen and dragged.
const GRIP: i32 = 48;
/// Smallest overlay.
const MIN_SIZE: (u32, u32) = (240, 64);
/// Most screens remembered; the least used is forgotten.
const MOST_SCREENS: usize = 32;

/// A rectangle on the desktop, or on a screen.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Area {
    pub(crate) x: i32,
    pub(crate) y: i32,
    pub(crate) width: u32,
    pub(crate) height: u32,
}

/// A screen that is there now.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Screen {
    /// As the system calls it.
    pub(crate) name: String,
    pub(crate) area: Area,
    /// Without panels and docks.
    pub(crate) work: Area,
    pub(crate) primary: bool,
}

/// Where the overlay was, by screen.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub(crate) struct Places {
    /// The screen it was on last.
    last: String,
    /// Relative to the screen's corner, so that rearranged screens change nothing.
    screens: BTreeMap<String, Area>,
}

impl Screen {
    /// The same screen at another resolution is another one: a place on it means something else.
    fn key(&self) -> String {
        format!("{} {}x{}", self.name, self.area.width, self.area.height)
    }

    fn default_area(&self) -> Area {
        let Area { x, y, width, height } = self.work;
        let (wide, high) = (width * DEFAULT_WIDTH / 100, height * DEFAULT_HEIGHT / 100);
        let (left, under) = ((width - wide) / 2, height * DEFAULT_MARGIN / 100);
        Area { x: x + px(left), y: y + px(height) - px(high) - px(under), width: wide, height: high }.at_least_minimal()
    }
}

impl Area {
    fn at_least_minimal(self) -> Self {
        Self { width: self.width.max(MIN_SIZE.0), height: self.height.max(MIN_SIZE.1), ..self }
    }

    fn contains(&self, x: i32, y: i32) -> bool {
        (self.x..self.x + px(self.width)).contains(&x) && (self.y..self.y + px(self.height)).contains(&y)
    }

    fn middle(&self) -> (i32, i32) {
        (self.x + px(self.width) / 2, self.y + px(self.height) / 2)
    }

    /// As near as may be, with enough of it on `screen`, and no larger than that.
    fn within(self, screen: &Self) -> Self {
        let width = self.width.min(screen.width);
        let height = self.height.min(screen.height);
        let x = self.x.clamp(screen.x + GRIP - px(width), screen.x + px(screen.width) - GRIP);
        let y = self.y.clamp(screen.y, screen.y + px(screen.height) - GRIP);
        Self { x, y, width, height }
    }
}

fn px(length: u32) -> i32 {
    i32::try_from(length).unwrap_or(i32::MAX)
}

impl Places {
    /// Where the overlay belongs: on the screen it was on last, else on the primary one. `None` without any screen.
    pub(crate) fn place(&self, screens: &[Screen]) -> Option<Area> {
        let last = screens.iter().find(|screen| screen.key() == self.last);
        let screen = last.or_else(|| screens.iter().find(|screen| screen.primary)).or(screens.first())?;
        let remembered = self.screens.get(&screen.key()).map(|area| {
            let moved = Area { x: area.x + screen.area.x, y: area.y + screen.area.y, ..*area };
            moved.at_least_minimal().within(&screen.area)
        });
        Some(remembered.unwrap_or_else(|| screen.default_area()))
    }

    /// Remembers that the overlay is at `area` of the desktop. Says whether that is news; elsewhere than on a screen is not.
    pub(crate) fn remember(&mut self, area: Area, screens: &[Screen]) -> bool {
        let Some(screen) = screen_of(area, screens) else { return false };
        let on_screen = Area { x: area.x - screen.area.x, y: area.y - screen.area.y, ..area };
        let key = screen.key();
        if self.last == key && self.screens.get(&key) == Some(&on_screen) {
            return false;
        }
        self.last.clone_from(&key);
        self.screens.insert(key, on_screen);
        while self.screens.len() > MOST_SCREENS {
            let Some(other) = self.screens.keys().find(|key| **key != self.last).cloned() else { break };
            self.screens.remove(&other);
        }
        true
    }
}

/// The screen that `area` is on: its middle, else any corner. `None`: it cannot be seen.
pub(crate) fn screen_of(area: Area, screens: &[Screen]) -> Option<&Screen> {
    let (right, bottom) = (area.x + px(area.width) - 1, area.y + px(area.height) - 1);
    let points = [area.middle(), (area.x, area.y), (right, area.y), (area.x, bottom), (right, bottom)];
    points.iter().find_map(|(x, y)| screens.iter().find(|screen| screen.area.contains(*x, *y)))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn screen(name: &str, x: i32, (width, height): (u32, u32), primary: bool) -> Screen {
        let area = Area { x, y: 0, width, height };
        Screen { name: name.to_owned(), area, work: Area { height: height - 40, ..area }, primary }
    }

    fn area(x: i32, y: i32, width: u32, height: u32) -> Area {
        Area { x, y, width, height }
    }

    #[test]
    fn a_new_overlay_is_at_the_bottom_in_the_middle_above_the_panel() {
        let place = Places::default().place(&[screen("A", 100, (1000, 1040), true)]).unwrap();
        assert_eq!((place.x, place.width), (200, 800), "80 % wide, centred");
        assert!(place.y + px(place.height) <= 1000 && place.y > 500, "{place:?}");
        assert_eq!(Places::default().place(&[]), None);
    }

    #[test]
    fn each_screen_has_a_place_of_its_own() {
        let (left, right) = (screen("L", 0, (1920, 1080), true), screen("R", 1920, (2560, 1440), false));
        let mut places = Places::default();
        assert!(places.remember(area(100, 50, 600, 200), &[left.clone(), right.clone()]));
        assert!(places.remember(area(2000, 900, 900, 300), &[left.clone(), right.clone()]));
        assert!(!places.remember(area(2000, 900, 900, 300), &[left.clone(), right.clone()]), "no news");
        assert_eq!(places.place(&[left.clone(), right.clone()]), Some(area(2000, 900, 900, 300)), "where it was last");
        // The right screen is unplugged, and comes back on the other side.
        assert_eq!(
            places.place(std::slice::from_ref(&left)),
            Some(area(100, 50, 600, 200)),
            "as it was on the primary one"
        );
        let back = screen("R", -2560, (2560, 1440), false);
        assert_eq!(places.place(&[left, back]), Some(area(-2480, 900, 900, 300)));
    }

    #[test]
    fn a_place_is_kept_through_a_file() {
        let mut places = Places::default();
        places.remember(area(10, 20, 300, 100), &[screen("A", 0, (800, 600), true)]);
        let text = serde_json::to_string(&places).unwrap();
        assert_eq!(serde_json::from_str::<Places>(&text).unwrap(), places);
    }

    #[test]
    fn another_resolution_is_another_screen_and_nothing_ends_out_of_sight() {
        let mut places = Places::default();
        places.remember(area(1500, 1000, 400, 80), &[screen("A", 0, (1920, 1080), true)]);
        let small = screen("A", 0, (1024, 768), true);
        let place = places.place(std::slice::from_ref(&small)).unwrap();
        assert_eq!(screen_of(place, std::slice::from_ref(&small)), Some(&small));
        // A file that somebody wrote into.
        let text = r#"{"last":"A 1024x768","screens":{"A 1024x768":{"x":90000,"y":-500,"width":1,"height":90000}}}"#;
        let place = serde_json::from_str::<Places>(text).unwrap().place(std::slice::from_ref(&small)).unwrap();
        assert!(
            place.x <= 1024 - GRIP && place.y == 0 && place.width == MIN_SIZE.0 && place.height == 768,
            "{place:?}"
        );
    }

    #[test]
    fn what_is_on_no_screen_is_not_remembered() {
        let mut places = Places::default();
        let screens = [screen("A", 0, (800, 600), true)];
        assert!(!places.remember(area(5000, 10, 300, 100), &screens));
        assert!(places.remember(area(-200, 550, 300, 100), &screens), "a corner of it can be seen");
    }
}
