-- The ARGV[2] dead letters behind the number ARGV[1], each with its number.
local numbers = redis.call('ZRANGEBYSCORE', dead, '(' .. ARGV[1], '+inf', 'LIMIT', 0, ARGV[2])
local all = {}
for _, number in ipairs(numbers) do
  all[#all + 1] = number
  all[#all + 1] = redis.call('HGET', letters, number)
end
return all
