-- The commands of a transaction. Redis takes nothing back if one of them fails, so that
-- for each but the last (which does all or nothing by itself) it is remembered how.
local undo, times, is_whole = {}, {}, {}

local function back(...)
  undo[#undo + 1] = { ... }
end

local function keep_field(key, field)
  local old = redis.call('HGET', key, field)
  if old then
    back('HSET', key, field, old)
  else
    back('HDEL', key, field)
  end
end

local function keep_member(key, member)
  back(redis.call('SISMEMBER', key, member) == 1 and 'SADD' or 'SREM', key, member)
end

local function keep_score(key, member)
  local old = redis.call('ZSCORE', key, member)
  if old then
    back('ZADD', key, old, member)
  else
    back('ZREM', key, member)
  end
end

local function keep_whole(key)
  local old = redis.call('DUMP', key)
  if old then
    back('RESTORE', key, 0, old, 'REPLACE')
  else
    back('DEL', key)
  end
  is_whole[key] = true
end

-- How a command is taken back of which one key changes and little of that: what is kept,
-- where its first member stands, and how far it is to the next.
local small = {
  HSET = { keep_field, 3, 2 },
  HMSET = { keep_field, 3, 2 },
  HSETNX = { keep_field, 3, 2 },
  HINCRBY = { keep_field, 3, 2 },
  HINCRBYFLOAT = { keep_field, 3, 2 },
  HDEL = { keep_field, 3, 1 },
  SADD = { keep_member, 3, 1 },
  SREM = { keep_member, 3, 1 },
  ZADD = { keep_score, 4, 2 },
  ZINCRBY = { keep_score, 4, 2 },
  ZREM = { keep_score, 3, 1 },
}
local options = { NX = true, XX = true, GT = true, LT = true, CH = true, INCR = true }

local function keep_small(command, keep, first, step)
  while keep == keep_score and step == 2 and options[command[first - 1]:upper()] do
    first = first + 1
  end
  for i = first, #command, step do
    keep(command[2], command[i])
  end
end

local function keep(command, keys)
  local how = small[command[1]:upper()]
  for _, key in ipairs(keys) do
    times[key] = times[key] or redis.call('PEXPIRETIME', key)
    if is_whole[key] then
      how = nil
    elseif not how then
      keep_whole(key)
    end
  end
  if how then
    keep_small(command, unpack(how))
  end
end

local function take_back()
  for i = #undo, 1, -1 do
    redis.call(unpack(undo[i]))
  end
  for key, time in pairs(times) do
    if time > 0 then
      redis.call('PEXPIREAT', key, time)
    end
  end
end

-- Does all of them, or none: then it tells what went wrong.
local function run(commands)
  for i, command in ipairs(commands) do
    local is_done, why = pcall(function()
      -- Refuses what is no command, and what names no key.
      local keys = redis.call('COMMAND', 'GETKEYS', unpack(command))
      if i < #commands then
        keep(command, keys)
      end
      redis.call(unpack(command))
    end)
    if not is_done then
      take_back()
      return (type(why) == 'table' and why.err or tostring(why)) .. ' (' .. command[1] .. ')'
    end
  end
end
