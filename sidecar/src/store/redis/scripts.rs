//! What must happen in Redis in one step, as Lua. Commands that need memory come first in each script:
//! a full Redis refuses a script at its first write or not at all, so nothing is ever half done.

use redis::Cmd;
use reputation::manifest::SnapshotVersion;
use reputation::mode::ModeOverride;
use reputation::{DecisionId, UnixSeconds};

use super::codec::{self, LONGEST_DECISION};
use super::keys::Keys;
use crate::clock::Day;
use crate::store::{DecisionChange, Step};

/// Reads a number that must be one, at most `most`; cuts off what is longer than a number is.
const NUMBER: &str = r"
local function number(key, most)
  local text = redis.pcall('GETRANGE', key, 0, 20)
  if type(text) ~= 'string' or not string.match(text, '^%d+$') then return nil end
  local value = tonumber(text)
  if value > most then return nil end
  return value
end
";

/// The epoch and the version that are in force, whatever stands in Redis. An epoch that is missing,
/// unreadable or ahead of every clock is replaced by a fresh one; one behind what the caller knows (an
/// old backup was restored) by that, and so is the version.
const SETTLE: &str = r"
local known_epoch, known_version = tonumber(ARGV[1]), tonumber(ARGV[2])
local fresh, latest = tonumber(ARGV[3]), tonumber(ARGV[4])
local function settle()
  local epoch, version = number(KEYS[1], latest), number(KEYS[2], 9007199254740000) or 0
  if not epoch then return fresh, 0 end
  if epoch < known_epoch then return known_epoch, known_version end
  if epoch == known_epoch and version < known_version then version = known_version end
  return epoch, version
end
local function keep(epoch, version)
  redis.call('SET', KEYS[1], string.format('%.0f', epoch))
  redis.call('SET', KEYS[2], string.format('%.0f', version))
end
";

/// Tells everybody of a change. Whoever may not publish is found by the counter, a little later.
const ANNOUNCE: &str = r"
local function announce(changes, channel, me)
  local count = redis.pcall('INCR', changes)
  if type(count) ~= 'number' then
    redis.call('SET', changes, '1')
    count = 1
  end
  redis.pcall('PUBLISH', channel, me)
  return count
end
";

/// Settles what is in force. A Redis that lost everything gets back what the caller knows. Whoever
/// writes decisions or modes counts it, so where no change was ever counted nobody wrote any; the epoch
/// tells nothing, since whoever numbers a snapshot puts one there.
const ENTER: &str = r"
local empty = redis.call('EXISTS', KEYS[3], KEYS[4], KEYS[5]) == 0
local stood = number(KEYS[1], latest)
local epoch, version = settle()
if stood ~= epoch then keep(epoch, version) end
if not empty then return {epoch, version, 0} end
for at = 8, #ARGV, 2 do redis.call('HSET', KEYS[3], ARGV[at], ARGV[at + 1]) end
if ARGV[7] ~= '' then redis.call('SET', KEYS[4], ARGV[7]) end
if #ARGV > 7 or ARGV[7] ~= '' then announce(KEYS[5], ARGV[5], ARGV[6]) end
return {epoch, version, 1}
";

const LATEST: &str = r"
local epoch, version = settle()
return {epoch, version}
";

/// Where it is not known what was taken back, as after an epoch began or an old backup was restored, it
/// may have been anything.
const NEXT: &str = r"
local stood_epoch, stood = number(KEYS[1], latest), number(KEYS[2], 9007199254740000)
local epoch, version = settle()
local taken_back = number(KEYS[3], version)
if ARGV[5] == '1' or not taken_back or taken_back == 0 or stood_epoch ~= epoch or stood ~= version then
  taken_back = version + 1
  redis.call('SET', KEYS[3], string.format('%.0f', taken_back))
end
keep(epoch, version + 1)
return {epoch, version + 1, taken_back}
";

const RAISE: &str = r"
local epoch, version = settle()
local at_least = tonumber(ARGV[7])
if epoch < at_least then
  epoch, version = at_least, 0
  keep(epoch, version)
  return {epoch, version, announce(KEYS[3], ARGV[5], ARGV[6])}
end
return {epoch, version, 0}
";

const CHANGE: &str = r"
local puts = tonumber(ARGV[3])
for at = 4, 3 + 2 * puts, 2 do redis.call('HSET', KEYS[1], ARGV[at], ARGV[at + 1]) end
for at = 4 + 2 * puts, #ARGV do redis.call('HDEL', KEYS[1], ARGV[at]) end
return announce(KEYS[2], ARGV[1], ARGV[2])
";

const PUT_MODES: &str = r"
redis.call('SET', KEYS[1], ARGV[3])
return announce(KEYS[2], ARGV[1], ARGV[2])
";

/// As it was, or there were none and nothing was ever set.
const SWAP_MODES: &str = r"
local stood = redis.pcall('GETRANGE', KEYS[1], 0, 300000)
if stood ~= ARGV[4] and not (stood == '' and ARGV[4] == '[]') then return 0 end
redis.call('SET', KEYS[1], ARGV[3])
return announce(KEYS[2], ARGV[1], ARGV[2])
";

/// What has not the length of an id is none, and is not sent. More of them than Redis lists in a fraction
/// of `store.timeout` would keep it busy with nothing else.
const LIST: &str = r"
if redis.call('HLEN', KEYS[1]) > 200000 then
  return redis.error_reply('ERR there are more than 200000 decisions')
end
local names = redis.call('HKEYS', KEYS[1])
local ids = {}
for _, name in ipairs(names) do
  if #name == 16 then ids[#ids + 1] = name end
end
return {#names, ids}
";

/// What is longer than a decision is nothing, and is not even read. Without ids all are read in one
/// step, which is only done when they change too fast to be read one after another.
const READ: &str = r"
local names = {}
for at = 2, #ARGV do names[at - 1] = ARGV[at] end
if #names == 0 then
  if redis.call('HLEN', KEYS[1]) > 30000 then
    return redis.error_reply('ERR there are too many decisions that change too fast')
  end
  names = redis.call('HKEYS', KEYS[1])
end
local found = {}
for _, name in ipairs(names) do
  if #name == 16 then
    local length = redis.call('HSTRLEN', KEYS[1], name)
    local readable = length > 0 and length <= tonumber(ARGV[1])
    found[#found + 1] = name
    found[#found + 1] = readable and redis.call('HGET', KEYS[1], name) or length
  end
end
return found
";

/// Books a call of a day if fewer than `below` were booked, raises the count to `at_least`, and forgets the
/// days before yesterday. What is no count is no reason to call.
const BOOK: &str = r"
local day, floor, below, at_least = ARGV[1], tonumber(ARGV[2]), tonumber(ARGV[3]), tonumber(ARGV[4])
local text
local length = redis.call('HSTRLEN', KEYS[1], day)
if length < 16 then text = redis.call('HGET', KEYS[1], day) or '0' else text = '' end
if not string.match(text, '^%d+$') then
  return redis.error_reply('FOREIGN the count of day ' .. day .. ' in ' .. KEYS[1])
end
local count = math.min(math.max(tonumber(text), floor, at_least), 4294967295)
local booked = count < below and 1 or 0
count = count + booked
if booked == 0 and at_least == 0 then return {count, 0} end
redis.call('HSET', KEYS[1], day, string.format('%.0f', count))
if redis.call('HLEN', KEYS[1]) <= 64 then
  for _, other in ipairs(redis.call('HKEYS', KEYS[1])) do
    local distance = tonumber(day) - (tonumber(other) or 0)
    if distance > 1 or distance < -1 then redis.call('HDEL', KEYS[1], other) end
  end
end
return {count, booked}
";

/// How far ahead of our clock an epoch may be, in seconds: another's clock is ahead by a day at most,
/// and it may have gone beyond a proxy's claim.
const SKEW: u64 = 2 * 86_400;

/// What the scripts about epoch and version go by.
#[derive(Debug, Clone, Copy)]
pub struct Bearings {
    /// The highest that is known here.
    pub known: SnapshotVersion,
    pub now: UnixSeconds,
}

/// What is written into the book of a provider's calls.
#[derive(Debug, Clone, Copy)]
pub enum Entry {
    None,
    /// One call, if fewer than that were booked.
    Call {
        below: u32,
    },
    AtLeast(u32),
}

/// Builds the commands.
pub struct Scripts {
    keys: Keys,
    /// Names this process among those that change something.
    me: String,
}

impl Scripts {
    pub fn new(keys: Keys, me: String) -> Self {
        Self { keys, me }
    }

    pub fn keys(&self) -> &Keys {
        &self.keys
    }

    /// Whether an announcement came from this process.
    pub fn is_mine(&self, sender: &[u8]) -> bool {
        sender == self.me.as_bytes()
    }

    /// Answers epoch, version, and 1 if Redis was empty.
    pub fn enter(
        &self,
        bearings: Bearings,
        decisions: &[(DecisionId, Vec<u8>)],
        modes: &[u8],
    ) -> Cmd {
        let keys = [
            self.keys.epoch(),
            self.keys.version(),
            self.keys.decisions(),
            self.keys.modes(),
            self.keys.changes(),
        ];
        let mut command = self.settling(ENTER, &keys, bearings);
        self.sign(&mut command).arg(modes);
        for (id, json) in decisions {
            command.arg(id.to_string()).arg(json);
        }
        command
    }

    /// Answers epoch and version.
    pub fn latest(&self, bearings: Bearings) -> Cmd {
        self.settling(LATEST, &[self.keys.epoch(), self.keys.version()], bearings)
    }

    /// Answers epoch, version, and the version that last took something back.
    pub fn next(&self, bearings: Bearings, step: Step) -> Cmd {
        let keys = [
            self.keys.epoch(),
            self.keys.version(),
            self.keys.taken_back(),
        ];
        let mut command = self.settling(NEXT, &keys, bearings);
        command.arg(u8::from(step == Step::TakesBack));
        command
    }

    /// Answers epoch, version, and how many changes there were if this was one, else 0.
    pub fn raise(&self, bearings: Bearings, at_least: u64) -> Cmd {
        let keys = [self.keys.epoch(), self.keys.version(), self.keys.changes()];
        let mut command = self.settling(RAISE, &keys, bearings);
        self.sign(&mut command).arg(at_least);
        command
    }

    /// Answers how many changes there were.
    pub fn change(&self, change: &DecisionChange) -> serde_json::Result<Cmd> {
        let keys = [self.keys.decisions(), self.keys.changes()];
        let mut command = script(&[ANNOUNCE, CHANGE], &keys);
        self.sign(&mut command).arg(change.put.len());
        for decision in &change.put {
            let json = codec::write_decision(decision)?;
            command.arg(decision.id.to_string()).arg(json);
        }
        for id in &change.delete {
            command.arg(id.to_string());
        }
        Ok(command)
    }

    /// Answers how many changes there were.
    pub fn put_modes(&self, modes: &[ModeOverride]) -> serde_json::Result<Cmd> {
        let keys = [self.keys.modes(), self.keys.changes()];
        let mut command = script(&[ANNOUNCE, PUT_MODES], &keys);
        self.sign(&mut command).arg(serde_json::to_vec(modes)?);
        Ok(command)
    }

    /// Answers how many changes there were, or 0 if the modes are not `before` any more.
    pub fn swap_modes(
        &self,
        before: &[ModeOverride],
        modes: &[ModeOverride],
    ) -> serde_json::Result<Cmd> {
        let keys = [self.keys.modes(), self.keys.changes()];
        let mut command = script(&[ANNOUNCE, SWAP_MODES], &keys);
        self.sign(&mut command)
            .arg(serde_json::to_vec(modes)?)
            .arg(serde_json::to_vec(before)?);
        Ok(command)
    }

    /// Answers how many fields there are, and those that may be ids.
    pub fn list(&self) -> Cmd {
        script(&[LIST], &[self.keys.decisions()])
    }

    /// Answers, for these ids or for all, id and JSON; or, where there is no JSON that can be one, id and
    /// its length.
    pub fn read(&self, ids: &[DecisionId]) -> Cmd {
        let mut command = script(&[READ], &[self.keys.decisions()]);
        command.arg(LONGEST_DECISION);
        for id in ids {
            command.arg(id.to_string());
        }
        command
    }

    /// Answers the count, and 1 if a call was booked. `known` was counted here before.
    pub fn book(&self, provider: &str, day: Day, known: u32, entry: Entry) -> Cmd {
        let (below, at_least) = match entry {
            Entry::None => (0, 0),
            Entry::Call { below } => (below, 0),
            Entry::AtLeast(count) => (0, count),
        };
        let mut command = script(&[BOOK], &[self.keys.quota(provider)]);
        command.arg(day.0).arg(known).arg(below).arg(at_least);
        command
    }

    fn settling(&self, body: &str, keys: &[String], bearings: Bearings) -> Cmd {
        let now = u64::from(bearings.now.0);
        let known = bearings.known;
        let mut command = script(&[NUMBER, SETTLE, ANNOUNCE, body], keys);
        command
            .arg(known.epoch)
            .arg(known.version)
            .arg(now.max(known.epoch.saturating_add(1)))
            .arg(now.saturating_add(SKEW).max(known.epoch));
        command
    }

    fn sign<'c>(&self, command: &'c mut Cmd) -> &'c mut Cmd {
        command.arg(self.keys.channel()).arg(&self.me)
    }
}

/// Redis keeps what a script compiles to by its text, so sending the text each time costs little.
fn script(parts: &[&str], keys: &[String]) -> Cmd {
    let mut command = redis::cmd("EVAL");
    command.arg(parts.concat()).arg(keys.len()).arg(keys);
    command
}
