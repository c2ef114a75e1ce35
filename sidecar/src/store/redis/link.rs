//! The way to Redis, as everybody in here uses it: one connection for all, or the reason why there is
//! none. After the first command that is not answered in time nobody in a hurry waits again, and after
//! the keeper's (`keeper`) own nobody at all: the way is closed until the keeper has seen an answer.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use redis::{Cmd, FromRedisValue, Pipeline, Value};
use tokio::sync::Notify;

use super::connect::Connection;
use super::fault::{Caller, Fault};

/// What part of the usual time a hasty question may take.
const HASTE: u32 = 5;

pub struct Link {
    /// For messages; without secrets.
    place: String,
    caller: Caller,
    timeout: Duration,
    state: Mutex<State>,
    /// The state was changed by somebody else than the keeper.
    doubted: Notify,
}

/// How the connection is that the keeper attends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Standing {
    Good,
    /// Not in use, but it may answer yet.
    Doubtful,
    Lost,
}

#[derive(Clone, Copy)]
enum Patience {
    Usual,
    Little,
}

enum State {
    Up(Arc<Connection>),
    /// It did not answer once, which may have been a hasty question: one that may wait longer is still
    /// put, or a slow Redis would take no bans while it is asked for verdicts.
    Doubtful(Arc<Connection>, String),
    Down(String),
}

impl Link {
    pub fn new(place: String, caller: Caller, timeout: Duration) -> Self {
        Self {
            place,
            caller,
            timeout,
            state: Mutex::new(State::Down("it has not been reached yet".to_owned())),
            doubted: Notify::new(),
        }
    }

    pub fn place(&self) -> &str {
        &self.place
    }

    /// Why it cannot be used now, if it cannot.
    pub fn fault(&self) -> Option<String> {
        match &*self.state() {
            State::Up(_) => None,
            State::Doubtful(_, why) | State::Down(why) => Some(why.clone()),
        }
    }

    /// One command.
    pub async fn ask<T: FromRedisValue>(&self, command: Cmd) -> Result<T, Fault> {
        let connection = self.connection(Patience::Usual)?;
        self.ask_on(&connection, command).await
    }

    /// One command that may take up to `limit`.
    pub async fn ask_patiently<T: FromRedisValue>(
        &self,
        limit: Duration,
        command: Cmd,
    ) -> Result<T, Fault> {
        let connection = self.connection(Patience::Usual)?;
        self.ask_within(limit, &connection, command).await
    }

    /// One command on a connection that need not be in use yet.
    pub async fn ask_on<T: FromRedisValue>(
        &self,
        connection: &Arc<Connection>,
        command: Cmd,
    ) -> Result<T, Fault> {
        self.ask_within(self.timeout, connection, command).await
    }

    /// One command that may take longer than others.
    pub async fn ask_within<T: FromRedisValue>(
        &self,
        limit: Duration,
        connection: &Arc<Connection>,
        command: Cmd,
    ) -> Result<T, Fault> {
        let mut pipeline = Pipeline::with_capacity(1);
        pipeline.add_command(command);
        let answers = self.exchange(connection, &pipeline, limit).await?;
        let answer = answers.into_iter().next().unwrap_or(Value::Nil);
        self.understand(connection, answer)
    }

    /// Several quick commands in one round trip, for somebody who would rather do without than wait as
    /// long as others do.
    pub async fn ask_all(&self, commands: &Pipeline) -> Result<Answers<'_>, Fault> {
        let connection = self.connection(Patience::Little)?;
        let limit = self.timeout / HASTE;
        let answers = self.exchange(&connection, commands, limit).await?;
        Ok(Answers {
            link: self,
            connection,
            answers: answers.into_iter(),
        })
    }

    fn connection(&self, patience: Patience) -> Result<Arc<Connection>, Fault> {
        match (&*self.state(), patience) {
            (State::Up(connection), _) | (State::Doubtful(connection, _), Patience::Usual) => {
                Ok(Arc::clone(connection))
            }
            (State::Doubtful(_, why) | State::Down(why), _) => Err(Fault::Away {
                place: self.place.clone(),
                why: why.clone(),
            }),
        }
    }

    async fn exchange(
        &self,
        connection: &Arc<Connection>,
        commands: &Pipeline,
        limit: Duration,
    ) -> Result<Vec<Value>, Fault> {
        let mut shared = connection.commands.clone();
        let exchange = shared.send_packed_commands(commands, 0, commands.len());
        match tokio::time::timeout(limit, exchange).await {
            Ok(Ok(answers)) => Ok(answers),
            Ok(Err(error)) => {
                let fault = Fault::of_library(&error, &self.caller);
                Err(self.note(connection, fault))
            }
            Err(_elapsed) => Err(self.note(connection, Fault::TimedOut(limit))),
        }
    }

    fn understand<T: FromRedisValue>(
        &self,
        connection: &Arc<Connection>,
        answer: Value,
    ) -> Result<T, Fault> {
        if let Value::ServerError(error) = &answer {
            let fault = Fault::of_server(error, &self.caller);
            return Err(self.note(connection, fault));
        }
        redis::from_redis_value(answer)
            .map_err(|_| Fault::NoRedis("its answer does not fit the question".to_owned()))
            .map_err(|fault| self.note(connection, fault))
    }

    /// Draws the conclusion for those who come next.
    fn note(&self, connection: &Arc<Connection>, fault: Fault) -> Fault {
        let ends = fault.ends_connection();
        if !ends && !matches!(fault, Fault::TimedOut(_)) {
            return fault;
        }
        let mut state = self.state();
        let is_news = match &*state {
            State::Up(now) => Arc::ptr_eq(now, connection),
            State::Doubtful(now, _) => ends && Arc::ptr_eq(now, connection),
            State::Down(_) => false,
        };
        if is_news {
            let why = fault.to_string();
            *state = if ends {
                State::Down(why)
            } else {
                State::Doubtful(Arc::clone(connection), why)
            };
            self.doubted.notify_one();
        }
        fault
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// For the keeper alone.
impl Link {
    pub fn open(&self, connection: Arc<Connection>) {
        *self.state() = State::Up(connection);
    }

    pub fn close(&self, why: String) {
        *self.state() = State::Down(why);
    }

    /// Resolves when somebody found the connection wanting.
    pub async fn doubted(&self) {
        self.doubted.notified().await;
    }

    pub fn standing(&self, connection: &Arc<Connection>) -> Standing {
        match &*self.state() {
            State::Up(now) if Arc::ptr_eq(now, connection) => Standing::Good,
            State::Doubtful(..) => Standing::Doubtful,
            State::Up(_) | State::Down(_) => Standing::Lost,
        }
    }

    /// Asks for what is announced on `channel`.
    pub async fn listen(&self, connection: &Connection, channel: &str) -> Result<(), Fault> {
        let mut commands = connection.commands.clone();
        let listening = tokio::time::timeout(self.timeout, commands.subscribe(channel));
        let listening = listening.await.map_err(|_| Fault::TimedOut(self.timeout))?;
        listening.map_err(|error| Fault::of_library(&error, &self.caller))
    }
}

/// The answers to several commands, in their order.
pub struct Answers<'l> {
    link: &'l Link,
    connection: Arc<Connection>,
    answers: std::vec::IntoIter<Value>,
}

impl Answers<'_> {
    pub fn next<T: FromRedisValue>(&mut self) -> Result<T, Fault> {
        let answer = self.answers.next().unwrap_or(Value::Nil);
        self.link.understand(&self.connection, answer)
    }
}
