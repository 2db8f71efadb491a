//! SORT, THREAD and their UID forms (RFC 5256, RFC 5957, RFC 5267 §3; spec/imapd.md §11, §12).
//!
//! They are a SEARCH whose result is put in order: see `search`.

use crate::imap::found;
use crate::imap::search::Order;
use crate::imap::session::Session;
use crate::imap::tagged::Outcome;
use ailurus_proto::imap::{CommandName, SortArgs, Tag, ThreadArgs};
use ailurus_search::{Sorter, Threader};

impl Session {
    pub(crate) fn sort(&mut self, tag: Tag, name: CommandName, args: &SortArgs) {
        let order = Order::Sort(Box::new(Sorter::new(&args.criteria)));
        self.look_up(tag, name, &args.program, args.returns, order);
    }

    pub(crate) fn thread(&mut self, tag: Tag, name: CommandName, args: &ThreadArgs) {
        match args.algorithm {
            Some(algorithm) => {
                let order = Order::Thread(Box::new(Threader::new(algorithm)));
                self.look_up(tag, name, &args.program, None, order);
            }
            None => {
                found::append_empty(name, None, &mut self.output);
                self.finish(tag, name, Outcome::no("No such thread type"));
            }
        }
    }
}
