-- Lets the build ARGV[1] answer, of a log that ends at ARGV[2], if its parts are ARGV[3]
-- and following, each its field and the checkpoint that it was seen at.
local parts = read_model()
local serves = redis.call('HGET', KEYS[1], 'serves')
local unseen, reached, furthest = {}, nil, ''
for field, part in pairs(parts) do
  if part.build == ARGV[1] then
    unseen[field] = part.epoch .. ' ' .. part.position
    if not reached or part.position < reached then
      reached = part.position
    end
  elseif part.build == serves and part.position <= ARGV[2] and part.position > furthest then
    furthest = part.position
  end
end
for i = 3, #ARGV, 2 do
  if unseen[ARGV[i]] ~= ARGV[i + 1] then
    return 'changed'
  end
  unseen[ARGV[i]] = nil
end
if not reached or next(unseen) then
  return 'changed'
end
if furthest > reached then
  return 'behind'
end
retire(parts, function(build)
  return build < ARGV[1]
end)
redis.call('HSET', KEYS[1], 'serves', ARGV[1])
return 'done'
