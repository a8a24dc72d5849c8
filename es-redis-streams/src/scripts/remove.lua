-- Deletes every build with its rows. Of the model only the epoch is left.
local parts, builds = read_model()
retire(parts, function()
  return true
end)
for field, build in pairs(builds) do
  redis.call('HDEL', KEYS[1], field)
  unlink_rows(build)
end
redis.call('HDEL', KEYS[1], 'serves')
return 'done'
