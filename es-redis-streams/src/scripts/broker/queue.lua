-- What a group has, all of it behind the name of its hash, KEYS[1]:
--   incoming  list: messages as they were published, which have no number yet
--   messages  hash: those that have one, until they are settled
--   ready     zset: numbers that may be handed out
--   lanes     hash: of each lane with messages in `ready`, in hand or in `later`, the first
--   lane:…    zset: numbers that wait behind the first of their lane
--   queued    set:  lanes in which numbers wait, or have waited lately
--   later     zset: numbers that wait for a time
--   tries     hash: how often those were tried that did not come to their end at once
--   given     set:  numbers that were dead letters and are given back
--   dead, letters  zset and hash: the dead letters
--   parked:…  zset: the dead letters of a lane that stands still
--   parked    hash: the lanes of these
--   broken    hash: what cannot be read
--   sessions  zset: who takes part, and until when
--   turns     hash: the last turn of each
--   held:…    set:  what each has in hand
--   bell      stream: who waits reads it
local base = KEYS[1]
local incoming, messages, ready = base .. ':incoming', base .. ':messages', base .. ':ready'
local lanes, later, tries = base .. ':lanes', base .. ':later', base .. ':tries'
local given, dead, letters = base .. ':given', base .. ':dead', base .. ':letters'
local sessions, turns, bell = base .. ':sessions', base .. ':turns', base .. ':bell'
local parked, broken, queued = base .. ':parked', base .. ':broken', base .. ':queued'
local order, parks = unpack(redis.call('HMGET', base, 'order', 'parks'))

local function waiting(lane)
  return base .. ':lane:' .. lane
end

local function parked_behind(lane)
  return base .. ':parked:' .. lane
end

local function held_by(session)
  return base .. ':held:' .. session
end

-- Lua would write large numbers with an exponent.
local function text(number)
  return string.format('%.0f', number)
end

-- In milliseconds.
local function now()
  local time = redis.call('TIME')
  return time[1] * 1000 + math.floor(time[2] / 1000)
end

-- Never the same again, also if all was lost in between.
local function change_version(registry)
  redis.call('HSET', registry, ':version', table.concat(redis.call('TIME'), '.'))
end

local function ring()
  redis.call('XADD', bell, 'MAXLEN', 1, '*', 'r', 1)
end

-- Calls the command with the words, as many at once as fit on the stack.
local function in_parts(command, key, words)
  for at = 1, #words, 1000 do
    redis.call(command, key, unpack(words, at, math.min(at + 999, #words)))
  end
end

-- Has to say the same as `lane` in `wire.rs`.
local function lane_of(message)
  if order == 'whole' then
    return 'whole'
  end
  if order ~= 'key' or #message < 5 then
    return nil
  end
  local length = struct.unpack('>I4', message, 2)
  if length == 0 or #message < 5 + length then
    return nil
  end
  return string.sub(message, 6, 5 + length)
end

local function make_ready(number)
  redis.call('ZADD', ready, number, number)
end

-- Whether the first of a lane does not come now, as nobody was given it yet: it is ready, or
-- waits for room among the dead letters.
local function holds(first)
  if redis.call('ZREM', ready, first) == 1 then
    return true
  end
  return redis.call('HEXISTS', tries, first) == 0 and redis.call('ZREM', later, first) == 1
end

-- Puts the message into its lane, where its number says.
local function enqueue(number, lane)
  local first = lane and redis.call('HGET', lanes, lane)
  if first then
    redis.call('SADD', queued, lane)
  end
  if first and tonumber(first) > tonumber(number) and holds(first) then
    redis.call('ZADD', waiting(lane), first, first)
  elseif first then
    redis.call('ZADD', waiting(lane), number, number)
    return
  end
  if lane then
    redis.call('HSET', lanes, lane, number)
  end
  make_ready(number)
end

-- Lets the next of the lane come.
local function go_on(lane)
  local following = redis.call('ZPOPMIN', waiting(lane))[1]
  if following then
    redis.call('HSET', lanes, lane, following)
    make_ready(following)
  else
    redis.call('SREM', queued, lane)
    redis.call('HDEL', lanes, lane)
  end
end

-- Keeps it apart, and lets its lane go on.
local function bury(number, message, kind, reason, attempts)
  local time = redis.call('TIME')
  local head = table.concat({ kind, attempts, time[1], time[2], #reason }, ' ')
  redis.call('HSET', letters, number, head .. '\n' .. reason .. message)
  redis.call('ZADD', dead, number, number)
  redis.call('HDEL', messages, number)
  redis.call('HDEL', tries, number)
  redis.call('SREM', given, number)
  local lane = lane_of(message)
  if lane then
    if parks == '1' then
      redis.call('ZADD', parked_behind(lane), number, number)
      redis.call('HSET', parked, number, lane)
    end
    go_on(lane)
  end
end

-- Lets all come again that the session has in hand, and forgets it.
local function dismiss(session, counted)
  for _, number in ipairs(redis.call('SMEMBERS', held_by(session))) do
    if counted then
      redis.call('HINCRBY', tries, number, 1)
    end
    make_ready(number)
  end
  redis.call('DEL', held_by(session))
  redis.call('ZREM', sessions, session)
  redis.call('HDEL', turns, session)
end
