-- Keeps ARGV[3] under KEYS[1] for ARGV[4] milliseconds, as of ARGV[2], if its tags,
-- KEYS[2] and following, still have the stamp ARGV[1], and nothing younger is there.
local stamps = {}
for i = 2, #KEYS do
  stamps[#stamps + 1] = redis.call('GET', KEYS[i]) or ''
end
if table.concat(stamps, ',') ~= ARGV[1] then
  return 0
end
local found = redis.call('HMGET', KEYS[1], 'stamp', 'as_of')
if found[1] == ARGV[1] and found[2] > ARGV[2] then
  return 0
end
redis.call('HSET', KEYS[1], 'stamp', ARGV[1], 'as_of', ARGV[2], 'value', ARGV[3])
redis.call('PEXPIRE', KEYS[1], ARGV[4])
return 1
