//! Passwords and accounts checked by PAM (spec/auth.md §3.1).
//!
//! The order is start, `PAM_RHOST`, authenticate, acct_mgmt, setcred; all must succeed. No session is opened: a mail login
//! is none in PAM's sense, and the services that admins have configured rely on it.
//!
//! Modules may change the process (the syslog identity, the signal mask) and wait: a failure costs what the modules make
//! it cost, commonly two seconds. They run in the calling thread.

use std::ffi::{CStr, CString, c_char, c_int, c_void};
use std::ptr;
use std::sync::OnceLock;

use zeroize::Zeroizing;

use crate::library::Library;

/// A login that PAM has granted.
///
/// Keep it until logout: dropping it deletes the credentials and ends the transaction, for which some modules need the
/// privileges that established them. It stays in the thread that made it. A child process must not drop its copy.
pub struct PamSession {
    functions: &'static Functions,
    handle: *mut Handle,
    status: c_int,
    answers: *mut Answers,
    established: bool,
}

/// Why PAM did not grant a login. For the log; the peer is told nothing of it.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum PamError {
    /// There is no libpam on this host.
    #[error("PAM is not available: {0}")]
    Unavailable(String),
    /// The service, the user, the password or the host contains a NUL, or the password is empty or longer than any
    /// program may answer a module.
    #[error("a name or password that PAM cannot be asked about")]
    Argument,
    /// A step failed: `code` is PAM's, `text` what `pam_strerror` says.
    #[error("{step}: {text}")]
    Refused {
        /// The PAM function.
        step: &'static str,
        /// Its result.
        code: i32,
        /// Its result in words.
        text: String,
    },
}

/// Returns whether libpam can be loaded.
pub fn available() -> bool {
    functions().is_ok()
}

/// Checks user and password under a service name (a file in `/etc/pam.d`: `imap`, `pop`), for a client at `rhost` (a
/// textual IP address, if known).
///
/// # Errors
///
/// [`PamError::Unavailable`] without libpam, [`PamError::Refused`] if any step fails: also if the service is not
/// configured, in which case PAM falls back to `other`.
pub fn authenticate(
    service: &str,
    user: &[u8],
    password: &[u8],
    rhost: Option<&str>,
) -> Result<PamSession, PamError> {
    let functions = functions().as_ref().map_err(|reason| PamError::Unavailable(reason.clone()))?;
    if password.is_empty() || password.len() >= MAX_RESP_SIZE || user.is_empty() {
        return Err(PamError::Argument);
    }
    let text = |bytes: &[u8]| CString::new(bytes).map_err(|_| PamError::Argument);
    let (service, user) = (text(service.as_bytes())?, text(user)?);
    let rhost = rhost.map(|rhost| text(rhost.as_bytes())).transpose()?;
    let mut session = PamSession::start(functions, &service, user, secret_text(password)?)?;
    if let Some(rhost) = &rhost {
        session.set_rhost(rhost)?;
    }
    session.run("pam_authenticate", functions.authenticate, 0)?;
    session.run("pam_acct_mgmt", functions.acct_mgmt, 0)?;
    session.run("pam_setcred", functions.setcred, ESTABLISH_CRED)?;
    session.established = true;
    session.forget_password();
    Ok(session)
}

const SUCCESS: c_int = 0;
const BUF_ERR: c_int = 5;
#[cfg(target_os = "linux")]
const CONV_ERR: c_int = 19;
#[cfg(not(target_os = "linux"))]
const CONV_ERR: c_int = 6;
#[cfg(target_os = "linux")]
const ESTABLISH_CRED: c_int = 2;
#[cfg(not(target_os = "linux"))]
const ESTABLISH_CRED: c_int = 1;
#[cfg(target_os = "linux")]
const DELETE_CRED: c_int = 4;
#[cfg(not(target_os = "linux"))]
const DELETE_CRED: c_int = 2;
const RHOST: c_int = 4;
const PROMPT_ECHO_OFF: c_int = 1;
const PROMPT_ECHO_ON: c_int = 2;
const ERROR_MSG: c_int = 3;
const TEXT_INFO: c_int = 4;
const MAX_NUM_MSG: usize = 32;
/// PAM_MAX_RESP_SIZE, which counts the NUL: modules may rely on it.
const MAX_RESP_SIZE: usize = 512;

const LIBRARY_NAMES: [&CStr; 3] = [c"libpam.so.0", c"libpam.so.6", c"libpam.so.5"];

/// `pam_handle_t`, which only libpam looks into.
#[repr(C)]
struct Handle {
    _opaque: [u8; 0],
}

/// `struct pam_message`.
#[repr(C)]
struct Message {
    style: c_int,
    text: *const c_char,
}

/// `struct pam_response`.
#[repr(C)]
struct Response {
    text: *mut c_char,
    code: c_int,
}

/// `struct pam_conv`.
#[repr(C)]
struct Conversation {
    converse: extern "C" fn(c_int, *mut *const Message, *mut *mut Response, *mut c_void) -> c_int,
    data: *mut c_void,
}

type Step = unsafe extern "C" fn(*mut Handle, c_int) -> c_int;

/// What we use of libpam.
struct Functions {
    start: unsafe extern "C" fn(*const c_char, *const c_char, *const Conversation, *mut *mut Handle) -> c_int,
    end: Step,
    set_item: unsafe extern "C" fn(*mut Handle, c_int, *const c_void) -> c_int,
    authenticate: Step,
    acct_mgmt: Step,
    setcred: Step,
    strerror: unsafe extern "C" fn(*mut Handle, c_int) -> *const c_char,
}

/// What the conversation answers with. Lives on the heap, outside of any Rust reference, while libpam may call back.
struct Answers {
    user: CString,
    password: Option<Zeroizing<Vec<u8>>>,
}

fn functions() -> &'static Result<Functions, String> {
    static FUNCTIONS: OnceLock<Result<Functions, String>> = OnceLock::new();
    FUNCTIONS.get_or_init(load)
}

fn load() -> Result<Functions, String> {
    let library = Library::open(&LIBRARY_NAMES)?;
    // SAFETY: the signatures are those of <security/pam_appl.h>, the same in Linux-PAM and OpenPAM.
    unsafe {
        Ok(Functions {
            start: library.function(c"pam_start")?,
            end: library.function(c"pam_end")?,
            set_item: library.function(c"pam_set_item")?,
            authenticate: library.function(c"pam_authenticate")?,
            acct_mgmt: library.function(c"pam_acct_mgmt")?,
            setcred: library.function(c"pam_setcred")?,
            strerror: library.function(c"pam_strerror")?,
        })
    }
}

/// Returns the password as a C string that is wiped when dropped.
fn secret_text(password: &[u8]) -> Result<Zeroizing<Vec<u8>>, PamError> {
    if password.contains(&0) {
        return Err(PamError::Argument);
    }
    let mut text = Zeroizing::new(Vec::with_capacity(password.len() + 1));
    text.extend_from_slice(password);
    text.push(0);
    Ok(text)
}

impl PamSession {
    fn start(
        functions: &'static Functions,
        service: &CStr,
        user: CString,
        password: Zeroizing<Vec<u8>>,
    ) -> Result<Self, PamError> {
        let account = user.clone();
        let answers = Box::into_raw(Box::new(Answers { user, password: Some(password) }));
        let mut session =
            Self { functions, handle: ptr::null_mut(), status: SUCCESS, answers, established: false };
        let conversation = Conversation { converse, data: answers.cast() };
        // SAFETY: both names are NUL-terminated; libpam copies them and the conversation struct; the answers live until
        // this session is dropped, which is after pam_end.
        session.status = unsafe {
            (functions.start)(
                service.as_ptr(),
                account.as_ptr(),
                &raw const conversation,
                &raw mut session.handle,
            )
        };
        session.check("pam_start")?;
        Ok(session)
    }

    fn set_rhost(&mut self, rhost: &CStr) -> Result<(), PamError> {
        // SAFETY: the handle is live; PAM_RHOST takes a NUL-terminated string, which libpam copies.
        self.status = unsafe { (self.functions.set_item)(self.handle, RHOST, rhost.as_ptr().cast()) };
        self.check("pam_set_item")
    }

    fn run(&mut self, name: &'static str, step: Step, flags: c_int) -> Result<(), PamError> {
        // SAFETY: the handle is live, and so are the answers that the conversation reads.
        self.status = unsafe { step(self.handle, flags) };
        self.check(name)
    }

    fn check(&self, step: &'static str) -> Result<(), PamError> {
        if self.status == SUCCESS {
            return Ok(());
        }
        // SAFETY: pam_strerror takes any handle (null too) and any code, and returns a static string or null.
        let text = unsafe {
            let text = (self.functions.strerror)(self.handle, self.status);
            if text.is_null() { String::new() } else { CStr::from_ptr(text).to_string_lossy().into_owned() }
        };
        Err(PamError::Refused { step, code: self.status, text })
    }

    /// From here on the conversation answers no prompt for a password.
    fn forget_password(&mut self) {
        // SAFETY: the answers come from Box::into_raw, and libpam, which alone reads them too, is not running.
        unsafe { (*self.answers).password = None };
    }
}

impl Drop for PamSession {
    fn drop(&mut self) {
        if !self.handle.is_null() {
            // SAFETY: the handle is live until pam_end, and not used after it.
            unsafe {
                if self.established {
                    self.status = (self.functions.setcred)(self.handle, DELETE_CRED);
                }
                (self.functions.end)(self.handle, self.status);
            }
        }
        // SAFETY: the answers come from Box::into_raw, and nobody can call back after pam_end.
        drop(unsafe { Box::from_raw(self.answers) });
    }
}

impl std::fmt::Debug for PamSession {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("PamSession").finish_non_exhaustive()
    }
}

/// Answers the prompts of the modules: one that echoes asks for the user, one that does not for the password. Texts and
/// error messages get an empty answer and are not shown, since there is nobody to show them to.
extern "C" fn converse(
    count: c_int,
    messages: *mut *const Message,
    responses: *mut *mut Response,
    data: *mut c_void,
) -> c_int {
    let Ok(count @ 1..=MAX_NUM_MSG) = usize::try_from(count) else {
        return CONV_ERR;
    };
    if messages.is_null() || responses.is_null() || data.is_null() {
        return CONV_ERR;
    }
    // SAFETY: calloc takes any sizes. The modules free what we return with free(3), so it must come from there; zeroed, it
    // is an array of responses without text.
    let answers = unsafe { libc::calloc(count, size_of::<Response>()) }.cast::<Response>();
    if answers.is_null() {
        return BUF_ERR;
    }
    for position in 0..count {
        // SAFETY: libpam passes `count` pointers to messages, and our data pointer as we gave it, to answers that nobody
        // changes while libpam runs.
        let answer = unsafe {
            let message = *messages.add(position);
            if message.is_null() { Err(CONV_ERR) } else { answer(&*message, &*data.cast::<Answers>()) }
        };
        match answer {
            // SAFETY: `answers` has `count` elements.
            Ok(text) => unsafe { (*answers.add(position)).text = text },
            Err(code) => {
                // SAFETY: `position` elements have texts of ours, the others none.
                unsafe { free_answers(answers, position) };
                return code;
            }
        }
    }
    // SAFETY: checked above not to be null; libpam passes a pointer that it wants to have set.
    unsafe { *responses = answers };
    SUCCESS
}

/// Returns a copy of the answer to one message that free(3) takes.
fn answer(message: &Message, answers: &Answers) -> Result<*mut c_char, c_int> {
    let text = match message.style {
        PROMPT_ECHO_ON => answers.user.as_c_str(),
        PROMPT_ECHO_OFF => {
            let password = answers.password.as_deref().ok_or(CONV_ERR)?;
            CStr::from_bytes_with_nul(password).map_err(|_| CONV_ERR)?
        }
        ERROR_MSG | TEXT_INFO => c"",
        _ => return Err(CONV_ERR),
    };
    // SAFETY: the text is NUL-terminated.
    let copy = unsafe { libc::strdup(text.as_ptr()) };
    if copy.is_null() { Err(BUF_ERR) } else { Ok(copy) }
}

/// Wipes and frees the first `count` texts and the array.
///
/// # Safety
///
/// `answers` comes from calloc; its first `count` texts are strings from strdup.
unsafe fn free_answers(answers: *mut Response, count: usize) {
    for position in 0..count {
        // SAFETY: by the contract above.
        unsafe {
            let text = (*answers.add(position)).text;
            let length = libc::strlen(text);
            zeroize::Zeroize::zeroize(std::slice::from_raw_parts_mut(text.cast::<u8>(), length));
            libc::free(text.cast());
        }
    }
    // SAFETY: by the contract above.
    unsafe { libc::free(answers.cast()) };
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Runs the conversation as a module would and returns the answers as text.
    fn ask(styles: &[c_int], password: Option<&[u8]>) -> Result<Vec<String>, c_int> {
        let password = password.map(|password| secret_text(password).expect("no NUL"));
        let mut answers = Answers { user: c"ada".into(), password };
        let messages: Vec<_> = styles.iter().map(|&style| Message { style, text: c"?".as_ptr() }).collect();
        let mut pointers: Vec<_> = messages.iter().map(|message| message as *const Message).collect();
        let mut responses = ptr::null_mut();
        let count = c_int::try_from(styles.len()).expect("few styles");
        let code = converse(count, pointers.as_mut_ptr(), &raw mut responses, (&raw mut answers).cast());
        if code != SUCCESS {
            assert!(responses.is_null());
            return Err(code);
        }
        // SAFETY: on success there is one response with a text for each message, made with strdup and calloc.
        unsafe {
            let texts = (0..styles.len())
                .map(|position| {
                    CStr::from_ptr((*responses.add(position)).text).to_string_lossy().into_owned()
                })
                .collect();
            free_answers(responses, styles.len());
            Ok(texts)
        }
    }

    #[test]
    fn the_conversation_answers_by_style() {
        let styles = [PROMPT_ECHO_ON, PROMPT_ECHO_OFF, ERROR_MSG, TEXT_INFO];
        let expected = ["ada", "adapw", "", ""].map(String::from).to_vec();
        assert_eq!(ask(&styles, Some(b"adapw")), Ok(expected));
    }

    #[test]
    fn the_conversation_fails_on_what_it_does_not_know() {
        assert_eq!(ask(&[PROMPT_ECHO_ON, 7], Some(b"adapw")), Err(CONV_ERR));
        assert_eq!(ask(&[], Some(b"adapw")), Err(CONV_ERR));
        assert_eq!(ask(&[TEXT_INFO; 33], Some(b"adapw")), Err(CONV_ERR));
        assert_eq!(ask(&[TEXT_INFO, PROMPT_ECHO_OFF], None), Err(CONV_ERR), "the password is forgotten");
    }

    #[test]
    fn what_pam_cannot_be_asked_is_refused() {
        if !available() {
            return println!("no libpam: not run");
        }
        let long = [b'x'; MAX_RESP_SIZE];
        for (user, password) in
            [(&b"ada"[..], &b""[..]), (b"", b"pw"), (b"a\0", b"pw"), (b"ada", b"p\0w"), (b"ada", &long)]
        {
            let error = authenticate("ailurus-no-such-service", user, password, None).expect_err("refused");
            assert_eq!(error, PamError::Argument);
        }
    }
}
