-- Two data centres of two guests each. They are booted and prepared once, saved at one moment, and each test puts the world
-- back to that moment: restoring takes a fraction of a boot, and the handles stay the same.
local world = provium

local function data_centre(name)
	local dc = world:lab(name)
	for _, role in ipairs({"web", "db"}) do
		dc:vm(role, "linux", {memory = "128M"})
	end
	return dc
end

local east, west = data_centre("east"), data_centre("west")
world:boot()

-- Both have a `db`: each sub-lab has names of its own.
for _, dc in ipairs({east, west}) do
	dc.db:run("mkdir -p /data && mount -t tmpfs none /data"):assert_ok()
	dc.db:write_file("/data/owner", dc:name())
end

local saved = world:snapshot()

test("a data centre goes down, the other one works", function(t)
	east:shutdown()
	t:assert_eq(east.db:state(), "shutdown")
	t:assert_eq(west.db:read_file("/data/owner"), "west")
	west.db:write_file("/data/owner", "west, alone")
end)

test("nothing of that is left after a restore", function(t)
	world:restore(saved)
	t:assert_eq(east.db:read_file("/data/owner"), "east")
	t:assert_eq(west.db:read_file("/data/owner"), "west")
end)

test("a copy of everything, beside the original", function(t)
	local copy = provium:lab("copy"):restore(saved)
	copy.east.db:write_file("/data/owner", "copy")
	t:assert_eq(copy.east.db:read_file("/data/owner"), "copy")
	t:assert_eq(east.db:read_file("/data/owner"), "east")
	t:assert_eq(table.concat(copy:sub_lab_names(), " "), "east west")
end)

test("one data centre alone, as a directory for other runs", function(t)
	local dir = west:snapshot(os.tmpname() .. ".lab")
	local copy = provium:lab("elsewhere"):restore(dir)
	t:assert_eq(copy.db:read_file("/data/owner"), "west")
	os.execute("rm -r " .. dir)
end)
