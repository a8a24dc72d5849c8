-- Removes the dead letter ARGV[1]. If there is a message ARGV[2], that goes back into its
-- lane in its place.
local letter = redis.call('HGET', letters, ARGV[1])
if not letter then
  return 0
end
local lane = redis.call('HGET', parked, ARGV[1])
if lane then
  redis.call('ZREM', parked_behind(lane), ARGV[1])
  redis.call('HDEL', parked, ARGV[1])
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
