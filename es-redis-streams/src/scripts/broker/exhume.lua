-- Removes the dead letter ARGV[1]. If there is a message ARGV[2], that goes back into its
-- lane in its place.
local letter = redis.call('HGET', letters, ARGV[1])
if not letter then
  return 0
end
local ends = string.find(letter, '\n', 1, true)
local reason = string.match(string.sub(letter, 1, ends - 1), '%d+$')
local lane = lane_of(string.sub(letter, ends + reason + 1))
if lane then
  redis.call('ZREM', parked_behind(lane), ARGV[1])
  if redis.call('EXISTS', parked_behind(lane)) == 0 then
    redis.call('SREM', parked, lane)
  end
end
redis.call('ZREM', dead, ARGV[1])
redis.call('HDEL', letters, ARGV[1])
if ARGV[2] then
  redis.call('HSET', messages, ARGV[1], ARGV[2])
  redis.call('SADD', given, ARGV[1])
  enqueue(ARGV[1], lane_of(ARGV[2]))
  ring()
end
return 1
