# Writes Redis' users: the one of docs/redis.md, with the hash of its password, and nobody else.
set -eu
hash=$(tr -d '\n' < /run/secrets/portcullis/redis | sha256sum | cut -d ' ' -f 1)
commands='+hello +ping +info +config|get +subscribe +publish +eval +get +set +getrange +exists +incr +hget +hset +hdel +hkeys +hlen +hstrlen'
{
  echo 'user default off'
  echo "user portcullis on #$hash ~pc:* &pc:* $commands"
} > /run/redis/users.acl
