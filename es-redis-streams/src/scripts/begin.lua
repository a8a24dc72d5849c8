-- Begins the build ARGV[1] by the code ARGV[2], at the position ARGV[3], with the parts
-- ARGV[5] and following; the model is born as ARGV[4] if it was not there.
local _, builds = read_model()
for _, number in pairs(builds) do
  if number >= ARGV[1] then
    return 'changed'
  end
end
redis.call('HSETNX', KEYS[1], 'born', ARGV[4])
redis.call('HSETNX', KEYS[1], 'serves', ARGV[1])
redis.call('HSET', KEYS[1], 'build:' .. ARGV[1], ARGV[2])
local epoch = redis.call('HGET', KEYS[1], 'epoch') or ('0'):rep(20)
for i = 5, #ARGV do
  begin_part(ARGV[i], epoch, ARGV[3])
end
return 'done'
