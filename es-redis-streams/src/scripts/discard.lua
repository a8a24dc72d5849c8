-- Deletes the build ARGV[1] with its rows, unless it is the one that answers.
if redis.call('HGET', KEYS[1], 'serves') == ARGV[1] then
  return 'changed'
end
local parts = read_model()
retire(parts, function(build)
  return build == ARGV[1]
end)
redis.call('HDEL', KEYS[1], 'build:' .. ARGV[1])
unlink_rows(ARGV[1])
return 'done'
