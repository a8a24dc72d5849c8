-- Gives the tags KEYS[2] and following, as far as anybody looks for them, the stamp
-- ARGV[1], and tells ARGV[2] in the stream KEYS[1], which keeps about ARGV[3].
for i = 2, #KEYS do
  redis.call('SET', KEYS[i], ARGV[1], 'XX', 'KEEPTTL')
end
redis.call('XADD', KEYS[1], 'MAXLEN', '~', ARGV[3], '*', 'invalid', ARGV[2])
return 1
