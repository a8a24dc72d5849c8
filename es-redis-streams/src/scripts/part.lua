-- A model is the hash KEYS[1]. In it stand the build that `serves`, the `epoch` at which
-- parts begin that are made later, since when it is there (`born`), `build:<number>` with
-- its revision, and `part:<build>:<first>:<last>` with epoch, position, lease, when that
-- began, and owner. Builds, epochs and positions have 20 digits: as texts they are in
-- order, and Lua's own numbers would not hold them. Times are in milliseconds.
local function now()
  local time = redis.call('TIME')
  return time[1] * 1000 + math.floor(time[2] / 1000)
end

local function read_part(key, field)
  local text = redis.call('HGET', key, field)
  if not text then
    return nil
  end
  local epoch, position, lease, at, owner = text:match('^(%d+) (%d+) (%d+) (%d+) (.*)$')
  return { epoch = epoch, position = position, lease = tonumber(lease), at = tonumber(at), owner = owner }
end

local function write_part(key, field, part)
  local times = string.format(' %.0f %.0f ', part.lease, part.at)
  redis.call('HSET', key, field, part.epoch .. ' ' .. part.position .. times .. part.owner)
end

-- A part that nobody has.
local function begin_part(field, epoch, position)
  write_part(KEYS[1], field, { epoch = epoch, position = position, lease = 0, at = 0, owner = '' })
end

-- The parts and the builds of the model, by their fields.
local function read_model()
  local all, parts, builds = redis.call('HGETALL', KEYS[1]), {}, {}
  for i = 1, #all, 2 do
    local part_of, build = all[i]:match('^part:(%d+):'), all[i]:match('^build:(%d+)$')
    if part_of then
      local epoch, position = all[i + 1]:match('^(%d+) (%d+) ')
      parts[all[i]] = { build = part_of, epoch = epoch, position = position }
    elseif build then
      builds[all[i]] = build
    end
  end
  return parts, builds
end

-- The next number: the nines at the end become noughts, the digit before them grows.
local function after(number)
  local head, nines = number:match('^(.-)(9*)$')
  return head:sub(1, -2) .. (head:sub(-1) + 1) .. ('0'):rep(#nines)
end

-- Takes the parts of these builds away. What begins later does so under a later epoch
-- than theirs: a number may come back, an owner may not.
local function retire(parts, is_gone)
  local epoch = redis.call('HGET', KEYS[1], 'epoch') or ''
  for field, part in pairs(parts) do
    if is_gone(part.build) then
      redis.call('HDEL', KEYS[1], field)
      if after(part.epoch) > epoch then
        epoch = after(part.epoch)
      end
    end
  end
  if epoch ~= '' then
    redis.call('HSET', KEYS[1], 'epoch', epoch)
  end
end

-- Takes the rows of a build away, and those beside them; their memory is freed by a
-- thread of its own, so that nobody waits however many there are.
local function unlink_rows(build)
  for i = 2, 5 do
    redis.call('UNLINK', KEYS[i] .. ':' .. build)
  end
end
