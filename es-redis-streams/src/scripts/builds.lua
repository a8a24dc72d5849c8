-- What time it is, and all that is known of each of the models KEYS.
local found = { now() }
for i, key in ipairs(KEYS) do
  found[i + 1] = redis.call('HGETALL', key)
end
return found
