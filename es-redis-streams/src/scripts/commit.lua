-- Moves the part ARGV[2] of the build ARGV[1] from the checkpoint ARGV[3] to ARGV[4],
-- and begins its lease anew; with it go the commands, the rows and the parked rows that
-- follow. Nothing of it happens if the part is not there, or not since the model was
-- born as ARGV[5], or if a command fails.
local part = read_part(KEYS[1], ARGV[2])
if not part or redis.call('HGET', KEYS[1], 'born') ~= ARGV[5] then
  return { 'gone' }
end
if part.epoch .. ' ' .. part.position ~= ARGV[3] then
  return { 'moved', part.epoch, part.position }
end

local at = 5
-- What comes next: how many, and as many.
local function take()
  local all = {}
  at = at + 1
  for i = 1, tonumber(ARGV[at]) do
    all[i] = ARGV[at + i]
  end
  at = at + #all
  return all
end

local commands = {}
at = at + 1
for i = 1, tonumber(ARGV[at]) do
  commands[i] = take()
end
local why = run(commands)
if why then
  return { 'failed', why }
end

for i = 2, 4, 2 do
  local values, ids = KEYS[i] .. ':' .. ARGV[1], KEYS[i + 1] .. ':' .. ARGV[1]
  local rows = take()
  for j = 1, #rows, 2 do
    if redis.call('HSET', values, rows[j], rows[j + 1]) == 1 then
      redis.call('ZADD', ids, 0, rows[j])
    end
  end
  for _, id in ipairs(take()) do
    redis.call('HDEL', values, id)
    redis.call('ZREM', ids, id)
  end
end
part.epoch, part.position = ARGV[4]:match('^(%d+) (%d+)$')
part.at = now()
write_part(KEYS[1], ARGV[2], part)
return { 'done' }
