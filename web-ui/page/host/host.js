/**
 * What the page needs of the program around it: sound, a way to the gateway, somebody's sign-in, files, other windows. Two
 * programs give it: a browser (browser.js) and the desktop client (desktop.js). The rest of the page knows neither.
 *
 * @import { Closed, LinkState } from '../link/link.js'
 * @import { ServerEvent } from '../link/protocol.js'
 * @import { SignInState } from '../people/sign-in.js'
 * @import { SoundFault } from '../sound/capture.js'
 */

/**
 * @typedef {'me' | 'them'} Channel Who is heard: the reader's microphone, or what their machine plays.
 *
 * @typedef {object} Device Something that gives sound.
 * @property {string} id Empty for the system's default.
 * @property {string} label
 * @property {Channel} channel
 *
 * @typedef {object} Term A word to be heard and translated as it is written.
 * @property {string} term
 * @property {Record<string, string>} [translations] By target.
 *
 * @typedef {object} StreamRequest One session: a channel has one of its own.
 * @property {Channel} channel
 * @property {string} device Id of a Device.
 * @property {string} source BCP-47 tag or `auto`.
 * @property {string[]} targets
 * @property {Term[]} glossary
 *
 * @typedef {object} StreamListener
 * @property {(state: LinkState) => void} state
 * @property {(event: ServerEvent) => void} event As in link.js.
 * @property {(fromMs: number) => void} anew As in link.js.
 * @property {(peak: number, heardMs: number) => void} level Loudest sample since the last call (0 to 1), and how much of this
 *   session was heard by now. About ten times a second while sound comes.
 * @property {(label: string) => void} moved Another device gives the sound now; the one before went away.
 * @property {(fromMs: number, toMs: number) => void} lost The machine could not deliver this part of the session's sound; silence
 *   stands for it.
 * @property {(fault: SoundFault) => void} gone The device went away and there is no other; the words owed still come, and then
 *   `closed`.
 * @property {(closed: Closed) => void} closed Called once; nothing follows.
 *
 * @typedef {object} Languages What may change while a stream runs.
 * @property {string} source
 * @property {string[]} targets
 * @property {Term[]} glossary
 *
 * @typedef {object} Stream
 * @property {(languages: Languages) => void} update
 * @property {() => void} finalize Ends the open utterance now.
 * @property {(paused: boolean) => void} pause While paused nothing is heard and nothing is sent.
 * @property {() => Promise<void>} stop Lets the device go; the words owed still come, and then `closed`.
 * @property {() => void} hurry Tries to connect at once, where it waits to.
 *
 * @typedef {object} Person
 * @property {SignInState} state
 * @property {() => Promise<void>} begin Finds out whether somebody is signed in.
 * @property {() => Promise<void>} enter Signs in; a browser leaves the page for it. Throws when nobody signed in.
 * @property {() => Promise<void>} end Signs out.
 *
 * @typedef {object} ProgramNotice
 * @property {'settings_bad' | 'settings_unsaved' | 'shortcut_taken' | 'autostart_failed' | 'overlay_failed' | 'update_ready'} code
 * @property {string} about A file, keys, a version.
 *
 * @typedef {'toggle' | 'pause' | 'settings' | 'history' | 'overlay'} Command What a tray icon or a global shortcut asks for.
 *
 * @typedef {object} Host
 * @property {'browser' | 'desktop'} kind
 * @property {Person} person
 * @property {() => Promise<Device[]>} devices In a browser what is shared as `them` is chosen when it starts, so there is none.
 * @property {(changed: () => void) => void} plugged Tells when `devices` may have changed.
 * @property {(request: StreamRequest, listener: StreamListener) => Promise<Stream>} open Throws CaptureError when there is no
 *   sound to be had.
 * @property {(name: string, type: string, text: string) => Promise<boolean>} save Gives the reader a file; false when they
 *   thought better of it.
 * @property {(shown: import('./shown.js').Shown) => void} show Tells the overlay what is drawn.
 * @property {(listener: (command: Command) => void) => void} commands
 * @property {(listener: (notice: ProgramNotice) => void) => void} notices What the program has to say, now and later.
 * @property {() => void} speak The page's language is another one: the program's own menus have to follow.
 */

export {};
