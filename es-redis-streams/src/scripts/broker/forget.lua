-- Removes the group ARGV[1], of which those who take part hear for ARGV[2] milliseconds.
-- KEYS[2] knows who listens to what.
if redis.call('HDEL', KEYS[2], ARGV[1]) == 1 then
  change_version(KEYS[2])
end
for _, lane in ipairs(redis.call('HKEYS', lanes)) do
  redis.call('UNLINK', waiting(lane))
end
for _, lane in ipairs(redis.call('HVALS', parked)) do
  redis.call('UNLINK', parked_behind(lane))
end
for _, session in ipairs(redis.call('ZRANGE', sessions, 0, -1)) do
  redis.call('UNLINK', held_by(session))
end
redis.call('UNLINK', base, incoming, messages, ready, lanes, later, tries, given, dead, letters)
redis.call('UNLINK', sessions, turns, bell, parked, broken, queued)
if order then
  redis.call('SET', base .. ':forgotten', 1, 'PX', ARGV[2])
end
return 1
