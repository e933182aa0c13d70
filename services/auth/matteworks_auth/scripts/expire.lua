-- Give back the overdue reservations of one account; returns how many. ARGV: 1 now or 0.
return expire(now_from(ARGV[1]))
