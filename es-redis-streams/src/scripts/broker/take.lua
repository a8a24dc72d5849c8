-- How many messages are looked at in one turn, how many at once, and how many bytes are
-- handed out before it ends.
local MOST, AT_ONCE, BYTES = 1000, 100, 4000000
local taken = { count = 0, bytes = 0, seen = 0, list = {}, lost = {} }

local function can_go_on(want)
  return taken.count < want and taken.seen < MOST and taken.bytes < BYTES
end

local function at_once(want)
  return math.min(want - taken.count, AT_ONCE)
end

local function hand_out(number, attempt, message, numbers)
  if taken.count > 0 and taken.bytes + #message > BYTES then
    taken.bytes = BYTES
    return make_ready(number)
  end
  local list = taken.list
  list[#list + 1], list[#list + 2], list[#list + 3] = number, attempt, message
  numbers[#numbers + 1] = number
  taken.count, taken.bytes = taken.count + 1, taken.bytes + #message
end

-- Whether a dead letter of its lane comes before it.
local function stands_behind(number, lane)
  if parks ~= '1' or not lane then
    return false
  end
  local first = redis.call('ZRANGE', parked_behind(lane), 0, 0)[1]
  if not first then
    return false
  end
  return redis.call('SISMEMBER', given, number) == 0 or tonumber(first) < tonumber(number)
end

-- Whether there was room to keep it apart. If not it waits a while, and its lane with it.
local function park(number, message, room)
  if redis.call('ZCARD', dead) >= room then
    redis.call('ZADD', later, now() + 1000, number)
    return false
  end
  bury(number, message, '"behind"', 'an earlier one is a dead letter', 0)
  return true
end

-- A message that is not there any more holds up no lane.
local function lose(number)
  taken.lost[#taken.lost + 1] = number
  local all = redis.call('HGETALL', lanes)
  for i = 1, #all, 2 do
    if all[i + 1] == number then
      go_on(all[i])
    end
  end
end

local function take_ready(want, room, held)
  while can_go_on(want) do
    local popped = redis.call('ZPOPMIN', ready, at_once(want))
    if #popped == 0 then
      return
    end
    local numbers, handed = {}, {}
    for i = 1, #popped, 2 do
      numbers[#numbers + 1] = popped[i]
    end
    local found = redis.call('HMGET', messages, unpack(numbers))
    local tried = redis.call('HMGET', tries, unpack(numbers))
    for i, number in ipairs(numbers) do
      if not found[i] then
        lose(number)
      elseif stands_behind(number, lane_of(found[i])) then
        park(number, found[i], room)
      else
        hand_out(number, 1 + (tried[i] or 0), found[i], handed)
      end
    end
    taken.seen = taken.seen + #numbers
    if #handed > 0 then
      redis.call('SADD', held, unpack(handed))
    end
  end
end

-- The lanes of these messages, and which of them have a first already.
local function look_at(found)
  local of, named, busy = {}, {}, {}
  for i, message in ipairs(found) do
    of[i] = lane_of(message)
    named[#named + 1] = of[i]
  end
  if #named > 0 then
    local first = redis.call('HMGET', lanes, unpack(named))
    for i, lane in ipairs(named) do
      busy[lane] = first[i]
    end
  end
  return of, busy
end

-- Gives each its number, and keeps it under that.
local function number_all(found)
  local before = redis.call('HINCRBY', base, 'numbers', #found) - #found
  local numbers, kept = {}, {}
  for i, message in ipairs(found) do
    numbers[i] = text(before + i)
    kept[2 * i - 1], kept[2 * i] = numbers[i], message
  end
  redis.call('HSET', messages, unpack(kept))
  return numbers
end

local function sort_in(found, room, handed)
  local numbers, first, behind = number_all(found), {}, {}
  local of, busy = look_at(found)
  for i, message in ipairs(found) do
    local number, lane = numbers[i], of[i]
    local is_parked, is_crowded = false, false
    if lane and busy[lane] then
      redis.call('ZADD', waiting(lane), number, number)
      behind[#behind + 1] = lane
    else
      if stands_behind(number, lane) then
        is_parked = park(number, message, room)
        is_crowded = not is_parked
      end
      if lane and not is_parked then
        busy[lane] = number
        first[#first + 1], first[#first + 2] = lane, number
      end
      if not is_parked and not is_crowded then
        hand_out(number, 1, message, handed)
      end
    end
  end
  in_parts('HSET', lanes, first)
  in_parts('SADD', queued, behind)
end

local function take_incoming(want, room, held)
  while can_go_on(want) do
    local found, handed = redis.call('LPOP', incoming, at_once(want)), {}
    if not found then
      return
    end
    sort_in(found, room, handed)
    taken.seen = taken.seen + #found
    if #handed > 0 then
      redis.call('SADD', held, unpack(handed))
    end
  end
end
