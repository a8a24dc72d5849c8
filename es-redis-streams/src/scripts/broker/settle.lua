-- What became of the messages that the session has in hand. Of one that it has not, as
-- others were given it, nothing is believed.
local unsettled = { fenced = {}, full = {} }

-- The same as `go_on` for each, with few commands.
local function all_go_on(handled)
  if #handled == 0 then
    return
  end
  local free, first, come = {}, {}, {}
  local waits = redis.call('SMISMEMBER', queued, unpack(handled))
  for i, lane in ipairs(handled) do
    local following = waits[i] == 1 and redis.call('ZPOPMIN', waiting(lane))[1]
    if following then
      first[#first + 1], first[#first + 2] = lane, following
      come[#come + 1], come[#come + 2] = following, following
    else
      free[#free + 1] = lane
    end
  end
  in_parts('HSET', lanes, first)
  in_parts('ZADD', ready, come)
  in_parts('HDEL', lanes, free)
  in_parts('SREM', queued, free)
end

local function acknowledge(held, from, count)
  if count == 0 then
    return
  end
  local numbers, done, handled = {}, {}, {}
  for i = 1, count do
    numbers[i] = ARGV[from + 2 * i - 2]
  end
  local is_held = redis.call('SMISMEMBER', held, unpack(numbers))
  for i, number in ipairs(numbers) do
    local lane = ARGV[from + 2 * i - 1]
    if is_held[i] == 0 then
      unsettled.fenced[#unsettled.fenced + 1] = number
    else
      done[#done + 1] = number
      handled[#handled + 1] = lane ~= '' and lane or nil
    end
  end
  if #done > 0 then
    redis.call('SREM', held, unpack(done))
    redis.call('HDEL', messages, unpack(done))
    redis.call('HDEL', tries, unpack(done))
    redis.call('SREM', given, unpack(done))
  end
  all_go_on(handled)
end

local function retry(number, after)
  redis.call('HINCRBY', tries, number, 1)
  if after == '0' then
    make_ready(number)
  else
    redis.call('ZADD', later, now() + tonumber(after) + 1, number)
  end
end

local function dead_letter(number, kind, reason, room)
  local message = redis.call('HGET', messages, number)
  if not message then
    return
  end
  if redis.call('ZCARD', dead) >= room then
    unsettled.full[#unsettled.full + 1] = number
    return retry(number, '1000')
  end
  bury(number, message, kind, reason, 1 + (redis.call('HGET', tries, number) or 0))
end

-- Puts away what nobody can read. If there is no room it comes again, and its lane waits.
local function set_aside(number, room)
  local message = redis.call('HGET', messages, number)
  if not message then
    return
  end
  if redis.call('HLEN', broken) >= room then
    return retry(number, '1000')
  end
  redis.call('HSET', broken, number, message)
  redis.call('HDEL', messages, number)
  redis.call('HDEL', tries, number)
  redis.call('SREM', given, number)
  local lane = lane_of(message)
  if lane then
    go_on(lane)
  end
end

local function settle(held, from, room)
  for i = from, #ARGV, 4 do
    local verb, number, one, two = ARGV[i], ARGV[i + 1], ARGV[i + 2], ARGV[i + 3]
    if redis.call('SREM', held, number) == 0 then
      unsettled.fenced[#unsettled.fenced + 1] = number
    elseif verb == 'retry' then
      retry(number, one)
    elseif verb == 'return' then
      make_ready(number)
    elseif verb == 'bury' then
      dead_letter(number, one, two, room)
    else
      set_aside(number, room)
    end
  end
end

-- Lets come again what the session has in hand, and does not know of.
local function match(held, from, count)
  local known = {}
  for i = from, from + count - 1 do
    known[ARGV[i]] = true
  end
  for _, number in ipairs(redis.call('SMEMBERS', held)) do
    if not known[number] then
      redis.call('SREM', held, number)
      make_ready(number)
    end
  end
end
