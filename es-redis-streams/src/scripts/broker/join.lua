-- Makes the group ARGV[1] if it is not there, in the order ARGV[2], which parks if ARGV[3]
-- is 1, and lets it listen to the patterns ARGV[5] and following; what is new to it begins
-- with all of KEYS[3] if ARGV[4] is 'earliest'. KEYS[2] knows who listens to what.
if order and (order ~= ARGV[2] or parks ~= ARGV[3]) then
  return 'disagrees'
end
redis.call('HSET', base, 'order', ARGV[2], 'parks', ARGV[3])
redis.call('DEL', base .. ':forgotten')

local old, known, new = {}, {}, {}
for pattern in string.gmatch(redis.call('HGET', KEYS[2], ARGV[1]) or '', '[^ ]+') do
  old[#old + 1], known[pattern] = pattern, true
end
for i = 5, #ARGV do
  if not known[ARGV[i]] then
    new[#new + 1], known[ARGV[i]] = ARGV[i], true
  end
end
if #new == 0 then
  return 'done'
end
if ARGV[4] == 'earliest' then
  local earlier = {}
  for _, message in ipairs(redis.call('LRANGE', KEYS[3], 0, -1)) do
    local topic = topic_of(message)
    if any_matches(new, topic) and not any_matches(old, topic) then
      earlier[#earlier + 1] = message
    end
  end
  in_parts('RPUSH', incoming, earlier)
  ring()
end
for _, pattern in ipairs(new) do
  old[#old + 1] = pattern
end
redis.call('HSET', KEYS[2], ARGV[1], table.concat(old, ' '))
change_version(KEYS[2])
return 'done'
