-- Fifty programs and two hundred files are followed at once, by the VM and by a worker: nothing is lost or comes in another order, and neither
-- the agent nor this process keeps memory for them.
provium.timeout = "10m"

local vm = provium:vm("v", "linux", {memory = "384M"}):boot()
local worker = vm:spawn_worker()
local agent_pid = tonumber(vm:run("echo $PPID").stdout)
local worker_pid = worker:syscall("getpid").ret

-- KiB of memory of its own: of a process of the guest, and of this one.
local function own_memory_of(pid)
	return tonumber(vm:read_file("/proc/" .. pid .. "/status"):match("RssAnon:%s+(%d+) kB"))
end
local function own_memory()
	collectgarbage()
	collectgarbage()
	local file <close> = io.open("/proc/self/status")
	return tonumber(file:read("a"):match("RssAnon:%s+(%d+) kB"))
end

-- 1 to n in an order that looks like none, the same in every run.
local function shuffled(n)
	local order, seed = {}, 12345
	for i = 1, n do order[i] = i end
	for i = n, 2, -1 do
		seed = (seed * 1103515245 + 12345) & 0x7fffffff
		local j = (seed >> 8) % i + 1
		order[i], order[j] = order[j], order[i]
	end
	return order
end

for _, entry in ipairs({{"the VM", vm}, {"a worker", worker}}) do
	local name, who = table.unpack(entry)
	local pid = who == vm and agent_pid or worker_pid

	test("50 programs are followed at once, by " .. name, function(t)
		local LINES = 300
		local function lines_of(i)
			local lines = {}
			for n = 1, LINES do lines[n] = ("program %d line %d %s\n"):format(i, n, ("."):rep(n % 100)) end
			return table.concat(lines)
		end
		local script = [[awk -v P=$P -v N=$N 'BEGIN { d = ""; for (i = 0; i < 100; i++) d = d "."; for (n = 1; n <= N; n++) print "program " P " line " n " " substr(d, 1, n % 100) }']]
		local function follow_all()
			local programs, streams = {}, {}
			for i = 1, 50 do
				programs[i] = who:run_async(script, {env = {P = i, N = LINES}})
				streams[i] = programs[i]:stdout_stream()
			end
			t:assert_eq(vm:open_stream_count(), 50)
			-- Line by line, all in turns.
			local got = {}
			for i = 1, 50 do got[i] = {} end
			for n = 1, LINES do
				for i = 1, 50 do got[i][n] = streams[i]:read_until("\n", 120) end
			end
			for i = 50, 1, -1 do
				t:assert(table.concat(got[i]) == lines_of(i), "what program " .. i .. " wrote is not what came")
				t:assert_eq(streams[i]:next(), nil)
				local r = programs[i]:wait()
				t:assert_eq(r.exit_code, 0)
				t:assert(r.stdout == lines_of(i), "and the second time neither")
				streams[i]:close()
			end
		end
		follow_all()
		-- What the first ones needed is there for the next ones.
		local guest, host = own_memory_of(pid), own_memory()
		follow_all()
		local guest_growth, host_growth = own_memory_of(pid) - guest, own_memory() - host
		t:log(("the agent grew by %d KiB, this process by %d"):format(guest_growth, host_growth))
		t:assert(guest_growth <= 512, "the agent grew by " .. guest_growth .. " KiB")
		t:assert(host_growth <= 2048, "this process grew by " .. host_growth .. " KiB")
		t:assert_eq(vm:open_stream_count(), 0)
	end)

	test("200 files are followed at once, by " .. name, function(t)
		local tails, dir = {}, "/tmp/many-" .. pid
		vm:run("mkdir " .. dir .. "; for i in $(seq 200); do : > " .. dir .. "/$i; done"):assert_ok()
		for i = 1, 200 do tails[i] = who:tail_file(dir .. "/" .. i) end
		t:assert_eq(vm:run("ls -l /proc/" .. pid .. "/fd | grep -c inotify").stdout, "1\n")
		for round = 1, 2 do
			vm:run("for i in $(seq 200); do echo \"round $R of $i\" >> " .. dir .. "/$i; done", {env = {R = round}}):assert_ok()
			for _, i in ipairs(shuffled(200)) do t:assert_eq(tails[i]:read_until("\n"), ("round %d of %d\n"):format(round, i)) end
		end
		for i = 1, 200 do tails[i]:close() end
		wait_until(function() return vm:is_quiescent() end)
		vm:run("rm -r " .. dir):assert_ok()
	end)
end
